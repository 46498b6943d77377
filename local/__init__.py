"""Real servers on this machine for the demo and the tests: AWS and OpenSearch, without Docker."""
