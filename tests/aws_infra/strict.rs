//! What AWS does and the emulator doesn't: things take a while to come and to go, and nothing goes that something still uses.
//!
//! Owns: the states on the way, the refusals. Must not: know what is tested.

use std::collections::HashMap;

/// Looks at a thing on its way until it has arrived.
const LOOKS: usize = 2;

/// Asks the emulator itself; an action of EC2, or of ELB where the name says so.
pub(crate) type Ask<'a> = &'a dyn Fn(&str) -> String;

#[derive(Debug, Default)]
pub(crate) struct Strict {
    /// Looks at a thing, by its id and where it is going.
    looks: HashMap<(String, &'static str), usize>,
    /// What is left of load balancers that are gone: what was said of them, and looks at that.
    leaving: HashMap<String, (String, usize)>,
    /// Calls that were refused.
    pub(crate) refused: Vec<String>,
}

fn between<'t>(text: &'t str, open: &str, close: &str) -> Option<&'t str> {
    text.split_once(open)?.1.split_once(close).map(|(inner, _)| inner)
}

fn parameter<'b>(body: &'b str, name: &str) -> &'b str {
    let pair = body.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    pair.unwrap_or_default()
}

impl Strict {
    fn arrived(&mut self, id: &str, to: &'static str) -> bool {
        let looks = self.looks.entry((id.to_owned(), to)).or_default();
        *looks += 1;
        *looks > LOOKS
    }

    fn is_leaving(&self, id: &str, to: &'static str) -> bool {
        self.looks.get(&(id.to_owned(), to)).is_none_or(|looks| *looks <= LOOKS)
    }

    /// A reply with the states on the way in it.
    pub(crate) fn seen(&mut self, call: &str, body: &str, reply: String) -> String {
        match call {
            "DescribeInstances" => self.states(
                &reply,
                "<instanceId>",
                "<instanceState>",
                "</instanceState>",
                &[
                    ("<code>16</code><name>running</name>", "<code>0</code><name>pending</name>"),
                    ("<code>48</code><name>terminated</name>", "<code>32</code><name>shutting-down</name>"),
                ],
            ),
            "CreateNatGateway" | "DescribeNatGateways" => self.states(
                &reply,
                "<natGatewayId>",
                "<state>",
                "</state>",
                &[("available", "pending"), ("deleted", "deleting")],
            ),
            "DescribeNetworkInterfaces" => {
                let name = body.split("ELB+").nth(1).or_else(|| body.split("ELB%20").nth(1));
                let name = name.and_then(|rest| rest.split('&').next()).unwrap_or_default();
                let Some((_, looks)) = self.leaving.get_mut(name) else { return reply };
                *looks += 1;
                if *looks > LOOKS {
                    self.leaving.remove(name);
                    return reply;
                }
                "<DescribeNetworkInterfacesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>r</requestId>\
                 <networkInterfaceSet><item><networkInterfaceId>eni-of-a-balancer</networkInterfaceId></item></networkInterfaceSet>\
                 </DescribeNetworkInterfacesResponse>"
                    .to_owned()
            }
            _ => reply,
        }
    }

    /// Puts the state on the way in the place of the last one, for every thing of a list.
    fn states(
        &mut self,
        reply: &str,
        id: &str,
        open: &str,
        close: &str,
        ways: &[(&'static str, &'static str)],
    ) -> String {
        let flat: String = reply.lines().map(str::trim).collect();
        let mut parts = flat.split(id);
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            out.push_str(id);
            let name = part.split('<').next().unwrap_or_default();
            let now = between(part, open, close).unwrap_or_default();
            match ways.iter().find(|(last, _)| *last == now) {
                Some((last, on_the_way)) if !self.arrived(name, last) => {
                    let state = |word: &str| format!("{open}{word}{close}");
                    out.push_str(&part.replacen(&state(last), &state(on_the_way), 1));
                }
                _ => out.push_str(part),
            }
        }
        out
    }

    /// Remembers what a load balancer stands on, which it lets go of only some time after it is gone.
    pub(crate) fn before(&mut self, call: &str, body: &str, ask: Ask<'_>) {
        if call == "DeleteLoadBalancer" {
            let name = parameter(body, "LoadBalancerName").to_owned();
            let all = ask("elasticloadbalancing:DescribeLoadBalancers");
            let about = all.split("<LoadBalancerName>").find(|part| part.starts_with(&format!("{name}<")));
            if let Some(about) = about {
                self.leaving.insert(name, (about.to_owned(), 0));
            }
        }
    }

    /// Why AWS would not do that now: the name of the error.
    pub(crate) fn refusal(&mut self, call: &str, body: &str, ask: Ask<'_>) -> Option<&'static str> {
        let (field, code) = match call {
            "DeleteSecurityGroup" => ("GroupId", "DependencyViolation"),
            "DeleteSubnet" => ("SubnetId", "DependencyViolation"),
            "DeleteVpc" | "DetachInternetGateway" => ("VpcId", "DependencyViolation"),
            "ReleaseAddress" => ("AllocationId", "InvalidIPAddress.InUse"),
            _ => return None,
        };
        let id = parameter(body, field);
        let used = self.users(ask).iter().any(|user| {
            let names = user.contains(&format!(">{id}<"));
            // A gateway holds on to what has an address outside, an address only to a gateway.
            match call {
                "DetachInternetGateway" => names && user.contains("ublicIp>") | user.contains("<ipAddress>"),
                "ReleaseAddress" => names && user.contains("<natGatewayAddressSet>"),
                _ => names,
            }
        });
        let grouped = call == "DeleteSecurityGroup" && named_by_another(&ask("DescribeSecurityGroups"), id);
        let kept = call == "DeleteVpc" && {
            let subnets = ask("DescribeSubnets");
            let gateways = ask("DescribeInternetGateways");
            subnets.contains(&format!(">{id}<")) || gateways.contains(&format!(">{id}<"))
        };
        if !(used || grouped || kept) {
            return None;
        }
        self.refused.push(call.to_owned());
        Some(code)
    }

    /// What is said of everything that stands on something else, as long as it isn't wholly gone.
    fn users(&self, ask: Ask<'_>) -> Vec<String> {
        let flat = |text: String| text.lines().map(str::trim).collect::<String>();
        let mut all = Vec::new();
        for (action, mark, gone) in [
            ("DescribeInstances", "<instanceId>", "<code>48</code><name>terminated</name>"),
            ("DescribeNatGateways", "<natGatewayId>", "deleted"),
        ] {
            for part in flat(ask(action)).split(mark).skip(1) {
                let id = part.split('<').next().unwrap_or_default();
                let left = part.contains(gone) && !self.is_leaving(id, gone);
                if !left {
                    all.push(part.to_owned());
                }
            }
        }
        let balancers = flat(ask("elasticloadbalancing:DescribeLoadBalancers"));
        all.extend(balancers.split("<LoadBalancerName>").skip(1).map(ToOwned::to_owned));
        all.extend(self.leaving.values().map(|(about, _)| about.lines().map(str::trim).collect()));
        all
    }
}

/// Whether a rule of another group names it.
fn named_by_another(groups: &str, id: &str) -> bool {
    let flat: String = groups.lines().map(str::trim).collect();
    flat.split("<ownerId>").skip(1).any(|group| {
        let mut ids = group.split("<groupId>").skip(1).filter_map(|rest| rest.split('<').next());
        ids.next() != Some(id) && ids.any(|named| named == id)
    })
}
