//! Exit statuses, all in one place. 0, 1, 2 and 4 mean what they mean for `ansible-playbook`, because scripts test them.

/// Everything is as wanted.
pub const FINE: u8 = 0;
/// Something went wrong that has no number of its own.
pub const ERROR: u8 = 1;
/// At least one host failed.
pub const HOSTS_FAILED: u8 = 2;
/// `plan`: infrastructure would change.
pub const CHANGES: u8 = 3;
/// No host failed, but at least one could not be reached.
pub const UNREACHABLE: u8 = 4;
/// The playbook, the inventory or the command line is wrong; no host was contacted, unless a play could not start.
pub const PLAYBOOK: u8 = 5;
/// Another run is working on one of the hosts, or on the same infrastructure.
pub const BUSY: u8 = 6;
/// The journal cannot be written.
pub const JOURNAL: u8 = 7;
/// The user stopped the run.
pub const CANCELLED: u8 = 130;
