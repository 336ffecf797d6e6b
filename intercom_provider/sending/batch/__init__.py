"""Send a batch of messages: read and check the input, send it through threads under the ledger, count the outcomes."""
