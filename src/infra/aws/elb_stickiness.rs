//! Stickiness of a classic load balancer: a policy on each of its HTTP listeners.
//!
//! A policy can't be changed, so its name says what it does and the listeners change over to another one.

use aws_sdk_elasticloadbalancing::types::LoadBalancerDescription;
use serde_json::{Value as Json, json};

use super::client::{Clients, fault};
use crate::infra::fault::{Class, CloudFault};

fn is_http(protocol: &str) -> bool {
    protocol.eq_ignore_ascii_case("http") || protocol.eq_ignore_ascii_case("https")
}

/// What a policy of that name does, when it is one of stickiness.
fn of_policy(lb: &LoadBalancerDescription, name: &str) -> Option<Json> {
    let all = lb.policies()?;
    let by_time = all.lb_cookie_stickiness_policies().iter().find(|p| p.policy_name() == Some(name));
    if let Some(policy) = by_time {
        let expiration = policy.cookie_expiration_period();
        return Some(json!({"enabled": true, "type": "loadbalancer", "expiration": expiration}));
    }
    let by_name = all.app_cookie_stickiness_policies().iter().find(|p| p.policy_name() == Some(name))?;
    Some(json!({"enabled": true, "type": "application", "cookie": by_name.cookie_name()}))
}

/// How it is now: on only when every HTTP listener has it, and the same.
pub(super) fn read(lb: &LoadBalancerDescription) -> Json {
    let off = json!({"enabled": false});
    let mut all = lb
        .listener_descriptions()
        .iter()
        .filter(|d| d.listener().is_some_and(|l| is_http(l.protocol())))
        .map(|d| d.policy_names().iter().find_map(|name| of_policy(lb, name)).unwrap_or_else(|| off.clone()));
    let Some(first) = all.next() else { return off };
    if all.all(|other| other == first) { first } else { json!({"enabled": "differs"}) }
}

fn policy_name(wanted: &Json) -> String {
    let (kind, what) = match wanted.get("cookie").and_then(Json::as_str) {
        Some(cookie) => ("application", cookie.to_owned()),
        None => ("loadbalancer", wanted.get("expiration").map(Json::to_string).unwrap_or_default()),
    };
    // Names of policies are letters, digits and hyphens.
    let plain: String = what.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("dcos-play-{kind}-{plain}")
}

/// Brings the HTTP listeners to the wanted stickiness.
pub(super) async fn set(clients: &Clients, name: &str, wanted: &Json) -> Result<(), CloudFault> {
    let elb = &clients.elb;
    let on = wanted.get("enabled").and_then(Json::as_bool) == Some(true);
    let policy = policy_name(wanted);
    if on {
        let made = match wanted.get("cookie").and_then(Json::as_str) {
            Some(cookie) => {
                let call = elb.create_app_cookie_stickiness_policy();
                let call = call.load_balancer_name(name).policy_name(&policy).cookie_name(cookie);
                let end = call.send().await.map(drop);
                end.map_err(|e| fault("elasticloadbalancing:CreateAppCookieStickinessPolicy", &e))
            }
            None => {
                let call = elb.create_lb_cookie_stickiness_policy();
                let call = call.load_balancer_name(name).policy_name(&policy);
                let call = call.set_cookie_expiration_period(wanted.get("expiration").and_then(Json::as_i64));
                let end = call.send().await.map(drop);
                end.map_err(|e| fault("elasticloadbalancing:CreateLBCookieStickinessPolicy", &e))
            }
        };
        match made {
            // By its name it is the same one.
            Err(fault) if fault.class == Class::Exists => {}
            end => end?,
        }
    }
    let call = elb.describe_load_balancers().load_balancer_names(name);
    let reply = call.send().await.map_err(|e| fault("elasticloadbalancing:DescribeLoadBalancers", &e))?;
    let Some(lb) = reply.load_balancer_descriptions().first() else { return Ok(()) };
    for description in lb.listener_descriptions() {
        let Some(listener) = description.listener().filter(|l| is_http(l.protocol())) else { continue };
        let now = description.policy_names();
        // Other policies (of ciphers) stay.
        let mut after: Vec<String> = now.iter().filter(|n| of_policy(lb, n).is_none()).cloned().collect();
        after.extend(on.then(|| policy.clone()));
        if after != now {
            let call = elb.set_load_balancer_policies_of_listener().load_balancer_name(name);
            let call = call.load_balancer_port(listener.load_balancer_port()).set_policy_names(Some(after));
            call.send()
                .await
                .map_err(|e| fault("elasticloadbalancing:SetLoadBalancerPoliciesOfListener", &e))?;
        }
    }
    Ok(())
}
