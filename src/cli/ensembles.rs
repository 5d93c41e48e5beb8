//! Where the lists of masters come from that `dcos-play masters order` compares: addresses, the inventory, a live master.
//!
//! Owns: reading them. Must not: know the rules of an order.

use std::net::Ipv4Addr;
use std::process::Stdio;
use std::str::FromStr as _;

use serde_json::Value;

use super::Trouble;
use super::reach::{Hosts, ReachFlags};
use crate::connection::ssh_for_people;
use crate::dcos::Ensemble;
use crate::exit;
use crate::inventory::Pattern;

/// Prints the ensemble a master was configured with, then what its Exhibitor says.
const ASK: &str = "sed -n 's/^EXHIBITOR_STATICENSEMBLE=//p' /opt/mesosphere/etc/exhibitor && echo && \
    curl -fsS --max-time 10 http://$(/opt/mesosphere/bin/detect_ip):8181/exhibitor/v1/cluster/status";

/// Reads the inventory only when something names a host of it.
pub(super) struct Origin<'a> {
    flags: &'a ReachFlags,
    hosts: Option<Hosts>,
}

/// The masters as they run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Live {
    pub(super) ensemble: Ensemble,
    /// Who leads ZooKeeper; none when nobody does.
    pub(super) leader: Option<Ipv4Addr>,
}

impl<'a> Origin<'a> {
    pub(super) fn new(flags: &'a ReachFlags) -> Self {
        Self { flags, hosts: None }
    }

    fn hosts(&mut self) -> Result<&Hosts, Trouble> {
        if self.hosts.is_none() {
            self.hosts = Some(Hosts::read(self.flags)?);
        }
        self.hosts.as_ref().ok_or_else(|| refused("the inventory is gone".to_owned()))
    }

    /// Addresses stay; everything else is a pattern of hosts, which stands for their `private_ip`.
    pub(super) fn addresses(&mut self, words: &[String]) -> Result<Vec<String>, Trouble> {
        let mut all = Vec::new();
        for word in words {
            let word = word.trim();
            // What looks like an address and is none is told as such, not searched for.
            if Ipv4Addr::from_str(word).is_ok() || word.starts_with(|c: char| c.is_ascii_digit()) {
                all.push(word.to_owned());
                continue;
            }
            let hosts = self.hosts()?;
            let pattern = Pattern::parse(word).map_err(|e| refused(format!("`{word}`: {e}")))?;
            let found = pattern.select(&hosts.inventory());
            if let Some((term, near)) = found.unmatched.first() {
                let hint = near.as_ref().map_or(String::new(), |near| format!(", did you mean `{near}`?"));
                return Err(refused(format!(
                    "`{term}` is no address, and no host or group of the inventory{hint}"
                )));
            }
            for host in &found.hosts {
                match hosts.text(host, "private_ip")? {
                    Some(address) => all.push(address),
                    None => {
                        return Err(refused(format!(
                            "{host} has no `private_ip`, which DC/OS knows a master by"
                        )));
                    }
                }
            }
        }
        Ok(all)
    }

    /// Asks the masters of the inventory, one after the other, until one answers.
    pub(super) fn live(&mut self) -> Result<Live, Trouble> {
        let hosts = self.hosts()?;
        let inventory = hosts.inventory();
        let masters = inventory.group("masters").map(|g| g.hosts.clone()).unwrap_or_default();
        let mut said = String::new();
        for host in masters.iter() {
            match ask(hosts, host) {
                Ok(live) => return Ok(live),
                Err(why) => said.push_str(&format!("\n  {host}: {why}")),
            }
        }
        if said.is_empty() {
            return Err(refused("no host in a group `masters` of the inventory to ask".to_owned()));
        }
        Err(refused(format!("no master answers what runs{said}")))
    }
}

fn refused(why: String) -> Trouble {
    Trouble::new(exit::ERROR, format!("error: {why}"))
}

fn ask(hosts: &Hosts, host: &str) -> Result<Live, String> {
    let words = |trouble: Trouble| trouble.text.trim_start_matches("error: ").to_owned();
    let ssh = hosts.ssh(host).map_err(words)?;
    let own = ["-o".to_owned(), "BatchMode=yes".to_owned()];
    let mut command = ssh_for_people(&ssh, &own, &[ASK.to_owned()]).map_err(|e| e.to_string())?;
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("`{}` cannot be started: {e}", ssh.executable))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        let last = error.trim().lines().last().unwrap_or("it says nothing").to_owned();
        return Err(last);
    }
    understood(&text)
}

/// The answer of [`ASK`].
fn understood(text: &str) -> Result<Live, String> {
    let (written, status) = text.split_once('\n').unwrap_or((text, ""));
    let written = written.trim();
    if written.is_empty() {
        return Err("its masters find each other by themselves (no static ensemble), any of them can be replaced by any \
             address: playbooks/replace-master-dynamic.yml"
            .to_owned());
    }
    let addresses: Vec<&str> =
        written.split(',').filter_map(|one| one.split_once(':')).map(|one| one.1).collect();
    let ensemble = Ensemble::parse(addresses).map_err(|e| e.to_string())?;
    if ensemble.to_string() != written {
        return Err(format!(
            "it runs the ensemble {written}, whose ids are not those of a sort ({ensemble})"
        ));
    }
    let status: Value = serde_json::from_str(status.trim())
        .map_err(|e| format!("its Exhibitor's answer is not JSON: {e}"))?;
    let leader = status
        .as_array()
        .into_iter()
        .flatten()
        .find(|one| one["isLeader"] == true)
        .and_then(|one| one["hostname"].as_str()?.parse().ok());
    Ok(Live { ensemble, leader })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_master_tells_its_ensemble_and_the_leader() {
        let status = r#"[{"hostname": "10.0.0.2", "code": 3, "isLeader": true}, {"hostname": "10.0.0.1", "isLeader": false}]"#;
        let live =
            understood(&format!("1:10.0.0.1,2:10.0.0.2,3:10.0.0.3\n\n{status}\n")).expect("understood");
        assert_eq!(live.ensemble.to_string(), "1:10.0.0.1,2:10.0.0.2,3:10.0.0.3");
        assert_eq!(live.leader, Some(Ipv4Addr::new(10, 0, 0, 2)));
        let said = |text: &str| understood(text).expect_err("refused");
        assert_eq!(
            said("1:10.0.0.9,2:10.0.0.10,3:10.0.0.11\n[]"),
            "it runs the ensemble 1:10.0.0.9,2:10.0.0.10,3:10.0.0.11, whose ids are not those of a sort \
             (1:10.0.0.10,2:10.0.0.11,3:10.0.0.9)"
        );
        assert_eq!(
            said("\n[]"),
            "its masters find each other by themselves (no static ensemble), any of them can be replaced by any address: \
             playbooks/replace-master-dynamic.yml"
        );
        assert!(said("1:10.0.0.1\nno").starts_with("its Exhibitor's answer is not JSON"));
    }
}
