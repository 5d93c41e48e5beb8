"""What runs on the bootstrap node: `dcos_generate_config.sh`."""
