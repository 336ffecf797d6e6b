"""Whom the DAGs here write to and what; none of it may be found where it does not belong."""

EMAIL = "ada.lovelace@example.com"
PHONE = "+447900123456"
BODY = "Your parcel waits behind the blue door"
NAME = "Augusta Byron"
