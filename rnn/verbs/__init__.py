"""One room for each verb of the command line: it reads options, makes one call, and prints what came back."""
