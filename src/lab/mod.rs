//! The lab: real hosts on this Linux machine, for rehearsal, tests and a first try without a cloud.
//!
//! Each host is a `systemd-nspawn` container with its own systemd, sshd, address, overlay root and boot id. The lab owns
//! one bridge, the hosts' links on it, one cgroup folder, and its folders on disk ([`LabDirs`]); it touches nothing else
//! on the machine. Nothing here prints: progress goes to a [`Progress`], failures are [`LabError`]s.
//!
//! ```text
//! inventory/lab.yml -> LabConfig (as written) -> LabSpec (checked, addresses given) -> Lab (what runs)
//! ```

mod cgroup;
mod config;
mod dirs;
mod error;
mod host;
mod image;
mod keys;
mod labs;
mod network;
mod plugin;
mod progress;
mod spec;
mod tools;
mod www;

pub use config::{AddressConfig, GroupConfig, HostConfig, HostsConfig, LabConfig, Vars, WwwConfig};
pub use dirs::LabDirs;
pub use error::LabError;
pub use host::HostState;
pub use labs::{HostStatus, KeepImages, Lab, Stop};
pub use network::{Network, NetworkError};
pub use plugin::LabPlugin;
pub use progress::{LabEvent, Progress, Silent};
pub use spec::{HostSpec, Image, InventoryGroup, LabInventory, LabSpec, SpecError, WwwSource, WwwSpec};
pub use www::serve;
