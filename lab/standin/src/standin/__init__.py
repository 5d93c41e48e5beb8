"""Stand-in DC/OS for lab hosts: a test fixture, never part of the product."""
