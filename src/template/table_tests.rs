//! Rows of templates and what Ansible makes of them.
