"""Recipients and texts of the DAGs here, which no log and no table may hold."""

EMAIL = "ada.lovelace@example.com"
PHONE = "+447900123456"
BODY = "Your parcel waits behind the blue door"
NAME = "Augusta Byron"
