"""The local stand-ins for Salesforce and Amazon Connect, on real sockets of the loopback interface."""
