"""The way to Pipedrive: credentials, limits, the client and the cursor walk."""
