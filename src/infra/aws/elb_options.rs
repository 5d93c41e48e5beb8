//! The options of a classic load balancer in the form in which they are compared.
//!
//! Owns: defaults and checks. Pure.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::{refused, sorted};
use crate::infra::cloud::Options;
use crate::infra::fault::CloudFault;
use crate::infra::identity::Identity;

pub(super) fn normal(identity: &Identity, options: &mut Options) -> Result<(), CloudFault> {
    let made = format!("{}-{}", identity.owner, identity.resource).replace(['_', '.'], "-");
    let name = options.get("name").and_then(Json::as_str).unwrap_or(&made).to_owned();
    let fine = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if name.len() > 32 || !fine || name.starts_with('-') || name.ends_with('-') {
        return Err(refused(format!(
            "`{name}` is no name for a load balancer: at most 32 letters, digits and inner hyphens; set `name`"
        )));
    }
    options.insert("name".to_owned(), name.into());
    if options.get("purge_instance_ids").and_then(Json::as_bool) == Some(false) {
        return Err(refused("`purge_instance_ids: false` is not supported: declare all members"));
    }
    if let Some(written) = options.get("listeners") {
        let mut listeners = BTreeMap::new();
        for one in written.as_array().map(Vec::as_slice).unwrap_or_default() {
            let (port, listener) = listener(one)?;
            if listeners.insert(port, listener).is_some() {
                return Err(refused(format!("two listeners have the port {port}")));
            }
        }
        options.insert("listeners".to_owned(), listeners.into_values().collect());
    }
    for option in ["subnets", "security_group_ids", "instance_ids"] {
        sorted(options, option);
    }
    options.entry("scheme").or_insert_with(|| "internet-facing".into());
    if let Some(written) = options.get("health_check") {
        let check = health_check(written)?;
        options.insert("health_check".to_owned(), check);
    }
    if let Some(written) = options.get("access_logs") {
        let logs = access_logs(written)?;
        options.insert("access_logs".to_owned(), logs);
    }
    if let Some(written) = options.get("stickiness") {
        let sticks = stickiness(written)?;
        options.insert("stickiness".to_owned(), sticks);
    }
    Ok(())
}

fn number(map: &serde_json::Map<String, Json>, key: &str) -> Result<Option<i64>, CloudFault> {
    match map.get(key) {
        None | Some(Json::Null) => Ok(None),
        Some(value) => {
            let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
            text.trim()
                .parse()
                .map(Some)
                .map_err(|_| refused(format!("`{key}` must be a number, not `{text}`")))
        }
    }
}

fn only(map: &serde_json::Map<String, Json>, what: &str, keys: &[&str]) -> Result<(), CloudFault> {
    match map.keys().find(|k| !keys.contains(&k.as_str())) {
        Some(key) => Err(refused(format!("{what} cannot have `{key}`: it has {}", keys.join(", ")))),
        None => Ok(()),
    }
}

fn mapping<'j>(written: &'j Json, what: &str) -> Result<&'j serde_json::Map<String, Json>, CloudFault> {
    written.as_object().ok_or_else(|| refused(format!("{what} is a mapping, not `{written}`")))
}

fn listener(written: &Json) -> Result<(i64, Json), CloudFault> {
    const KEYS: &[&str] =
        &["protocol", "load_balancer_port", "instance_protocol", "instance_port", "ssl_certificate_id"];
    let map = mapping(written, "a listener")?;
    only(map, "a listener", KEYS)?;
    let word = |key: &str| map.get(key).and_then(Json::as_str).map(str::to_lowercase);
    let protocol = |key: &str, default: Option<String>| -> Result<String, CloudFault> {
        match word(key).or(default) {
            Some(p) if matches!(p.as_str(), "http" | "https" | "tcp" | "ssl") => Ok(p),
            Some(p) => Err(refused(format!("a listener's `{key}` is http, https, tcp or ssl, not `{p}`"))),
            None => Err(refused(format!("a listener needs `{key}`"))),
        }
    };
    let port = |key: &str, default: Option<i64>| -> Result<i64, CloudFault> {
        number(map, key)?
            .or(default)
            .filter(|p| (1..=65535).contains(p))
            .ok_or_else(|| refused(format!("a listener needs `{key}`, a port from 1 to 65535")))
    };
    let front = protocol("protocol", None)?;
    let outer = port("load_balancer_port", None)?;
    // As the module has it: the same kind of protocol behind, without its encryption.
    let plain = match front.as_str() {
        "https" => "http",
        "ssl" => "tcp",
        same => same,
    };
    let mut made = json!({
        "protocol": front,
        "load_balancer_port": outer,
        "instance_protocol": protocol("instance_protocol", Some(plain.to_owned()))?,
        "instance_port": port("instance_port", None)?,
    });
    let certificate = map.get("ssl_certificate_id").and_then(Json::as_str).filter(|c| !c.is_empty());
    match (matches!(front.as_str(), "https" | "ssl"), certificate) {
        (true, None) => {
            return Err(refused(format!(
                "the listener on port {outer} is {front}, so it needs `ssl_certificate_id`, the ARN of a certificate"
            )));
        }
        (true, Some(certificate)) => made["ssl_certificate_id"] = certificate.into(),
        (false, _) => {}
    }
    Ok((outer, made))
}

fn health_check(written: &Json) -> Result<Json, CloudFault> {
    const KEYS: &[&str] = &[
        "ping_protocol",
        "ping_port",
        "ping_path",
        "interval",
        "timeout",
        "response_timeout",
        "healthy_threshold",
        "unhealthy_threshold",
    ];
    let map = mapping(written, "`health_check`")?;
    only(map, "`health_check`", KEYS)?;
    let protocol = map.get("ping_protocol").and_then(Json::as_str).unwrap_or("tcp").to_uppercase();
    let port = number(map, "ping_port")?.ok_or_else(|| refused("`health_check` needs `ping_port`"))?;
    let path = map.get("ping_path").and_then(Json::as_str).unwrap_or("/");
    let target = match protocol.as_str() {
        "HTTP" | "HTTPS" => format!("{protocol}:{port}{path}"),
        "TCP" | "SSL" => format!("{protocol}:{port}"),
        other => return Err(refused(format!("`ping_protocol` is http, https, tcp or ssl, not `{other}`"))),
    };
    let within = |key: &str, value: i64, from: i64, to: i64| -> Result<i64, CloudFault> {
        match (from..=to).contains(&value) {
            true => Ok(value),
            false => Err(refused(format!("`{key}` of a health check is {from} to {to}, not {value}"))),
        }
    };
    let timeout = number(map, "timeout")?.or(number(map, "response_timeout")?).unwrap_or(5);
    let value = |key: &str, default: i64| number(map, key).map(|n| n.unwrap_or(default));
    Ok(json!({
        "target": target,
        "interval": within("interval", value("interval", 30)?, 5, 300)?,
        "timeout": within("timeout", timeout, 2, 60)?,
        "healthy_threshold": within("healthy_threshold", value("healthy_threshold", 10)?, 2, 10)?,
        "unhealthy_threshold": within("unhealthy_threshold", value("unhealthy_threshold", 2)?, 2, 10)?,
    }))
}

fn access_logs(written: &Json) -> Result<Json, CloudFault> {
    let map = mapping(written, "`access_logs`")?;
    only(map, "`access_logs`", &["enabled", "s3_location", "s3_prefix", "interval"])?;
    let enabled = map.get("enabled").and_then(Json::as_bool).unwrap_or(true);
    if !enabled {
        return Ok(json!({"enabled": false}));
    }
    let Some(bucket) = map.get("s3_location").and_then(Json::as_str).filter(|b| !b.is_empty()) else {
        return Err(refused("`access_logs` needs `s3_location`, the name of a bucket"));
    };
    let interval = number(map, "interval")?.unwrap_or(60);
    if !matches!(interval, 5 | 60) {
        return Err(refused(format!("`interval` of `access_logs` is 5 or 60 minutes, not {interval}")));
    }
    let prefix = map.get("s3_prefix").and_then(Json::as_str).unwrap_or_default();
    Ok(json!({"enabled": true, "s3_location": bucket, "s3_prefix": prefix, "interval": interval}))
}

/// As the module has it: `type` is `loadbalancer` (with `expiration` in seconds) or `application` (with `cookie`).
fn stickiness(written: &Json) -> Result<Json, CloudFault> {
    let map = mapping(written, "`stickiness`")?;
    only(map, "`stickiness`", &["type", "enabled", "expiration", "cookie"])?;
    if map.get("enabled").is_some_and(|on| on.as_bool() == Some(false) || on == "no" || on == "false") {
        return Ok(json!({"enabled": false}));
    }
    match map.get("type").and_then(Json::as_str) {
        Some("loadbalancer") => match number(map, "expiration")?.filter(|n| *n > 0) {
            Some(expiration) => {
                Ok(json!({"enabled": true, "type": "loadbalancer", "expiration": expiration}))
            }
            None => Err(refused("`stickiness` of type loadbalancer needs `expiration`, in seconds")),
        },
        Some("application") => match map.get("cookie").and_then(Json::as_str).filter(|c| !c.is_empty()) {
            Some(cookie) => Ok(json!({"enabled": true, "type": "application", "cookie": cookie})),
            None => Err(refused("`stickiness` of type application needs `cookie`, the name of one")),
        },
        _ => Err(refused("`type` of `stickiness` is loadbalancer or application")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_with_encryption_needs_a_certificate() {
        let tls = json!({"protocol": "HTTPS", "load_balancer_port": 443, "instance_port": "80"});
        assert_eq!(
            listener(&tls).unwrap_err().message,
            "the listener on port 443 is https, so it needs `ssl_certificate_id`, the ARN of a certificate"
        );
        let tcp = json!({"protocol": "tcp", "load_balancer_port": 2181, "instance_port": 2181});
        assert_eq!(listener(&tcp).unwrap().1["instance_protocol"], "tcp");
    }

    #[test]
    fn a_health_check_is_one_target_with_numbers_in_range() {
        let check = json!({"ping_protocol": "http", "ping_port": 9090, "ping_path": "/_haproxy_health_check", "response_timeout": 5});
        let made = health_check(&check).unwrap();
        assert_eq!(made["target"], "HTTP:9090/_haproxy_health_check");
        assert_eq!((&made["interval"], &made["healthy_threshold"]), (&json!(30), &json!(10)));
        let wrong = json!({"ping_protocol": "tcp", "ping_port": 80, "interval": 3});
        assert_eq!(
            health_check(&wrong).unwrap_err().message,
            "`interval` of a health check is 5 to 300, not 3"
        );
    }

    #[test]
    fn stickiness_says_how_long_or_by_which_cookie() {
        let made = |written: Json| stickiness(&written).map_err(|e| e.message);
        assert_eq!(
            made(json!({"type": "loadbalancer", "enabled": true, "expiration": "300"})),
            Ok(json!({"enabled": true, "type": "loadbalancer", "expiration": 300}))
        );
        assert_eq!(made(json!({"enabled": "no"})), Ok(json!({"enabled": false})));
        assert_eq!(
            made(json!({"type": "application"})),
            Err("`stickiness` of type application needs `cookie`, the name of one".to_owned())
        );
    }
}
