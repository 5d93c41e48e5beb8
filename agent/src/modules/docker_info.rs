//! `docker_container_info`, `docker_image_info` and `docker_network_info` (community.docker): what the daemon knows.

use std::convert::Infallible;

use serde_json::{Value, json};

use super::docker::{self, Args, Docker, list, text};
use super::{Fault, Host, Inspection, Module, Outcome};
use crate::options::{Opt, Spec};

const COLLECTIONS: &[&str] = &["community.docker", "community.general"];

macro_rules! info {
    ($(#[$doc:meta])* $module:ident $name:literal $option:expr, $found:path) => {
        $(#[$doc])*
        pub struct $module;

        impl Module for $module {
            const SPEC: Spec = Spec {
                collections: COLLECTIONS,
                options: &[&[$option], docker::OPTIONS],
                ..Spec::new($name)
            };
            type Args = Args;
            type Change = Infallible;

            fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Infallible>, Fault> {
                $found(args, &Docker::new(args, host)?).map(Inspection::Same)
            }

            fn apply(_: &Args, change: Infallible, _: &Host<'_>) -> Result<Outcome, Fault> {
                match change {}
            }
        }
    };
}

info!(
    /// Describes one container.
    DockerContainerInfo "docker_container_info" Opt::str("name").required(), container
);
info!(
    /// Describes images, all of them when none is named.
    DockerImageInfo "docker_image_info" Opt::list("name"), images
);
info!(
    /// Describes one network.
    DockerNetworkInfo "docker_network_info" Opt::str("name").required(), network
);

fn one(args: &Args, docker: &Docker<'_>, kind: &str, folder: &str) -> Result<Outcome, Fault> {
    let name = text(args, "name").unwrap_or_default();
    let found =
        docker.get(&format!("look for the {kind} `{name}`"), &format!("/{folder}/{name}{}", tail(kind)))?;
    Ok(Outcome::same().with("exists", found.is_some()).with(kind, found.unwrap_or_default()))
}

fn tail(kind: &str) -> &'static str {
    if kind == "container" { "/json" } else { "" }
}

fn container(args: &Args, docker: &Docker<'_>) -> Result<Outcome, Fault> {
    one(args, docker, "container", "containers")
}

fn network(args: &Args, docker: &Docker<'_>) -> Result<Outcome, Fault> {
    one(args, docker, "network", "networks")
}

fn images(args: &Args, docker: &Docker<'_>) -> Result<Outcome, Fault> {
    let mut names: Vec<String> = list(args, "name").iter().map(docker::word).collect();
    if names.is_empty() {
        let all = docker.get("list the images", "/images/json")?.unwrap_or_default();
        let ids = all.as_array().into_iter().flatten().filter_map(|i| i["Id"].as_str().map(str::to_owned));
        names.extend(ids);
    }
    let mut images: Vec<Value> = Vec::new();
    for name in &names {
        images.extend(docker::image(docker, name)?);
    }
    Ok(Outcome::same().with("images", json!(images)))
}

#[cfg(test)]
mod tests {
    use super::super::docker::fake::Daemon;
    use super::*;
    use crate::testing::run;

    #[test]
    fn what_is_there_is_described_and_what_is_not_is_said() {
        let daemon = Daemon::answering(|_, path, _| match path {
            "/containers/master/json" => (200, json!({"Name": "/master"})),
            "/images/json" => (200, json!([{"Id": "sha256:1"}])),
            "/images/sha256:1/json" | "/images/dcos:latest/json" => (200, json!({"Id": "sha256:1"})),
            _ => (404, json!({"message": "no such thing"})),
        });
        let of = |module: &str, mut args: Value| {
            args["docker_host"] = daemon.address.clone().into();
            run(module, args, true)
        };
        let found = of("docker_container_info", json!({"name": "master"}));
        assert_eq!((&found["exists"], &found["container"]["Name"]), (&json!(true), &json!("/master")));
        let none = of("docker_network_info", json!({"name": "n"}));
        assert_eq!((&none["exists"], &none["network"]), (&json!(false), &json!(null)));
        assert_eq!(of("docker_image_info", json!({}))["images"], json!([{"Id": "sha256:1"}]));
        let named = of("docker_image_info", json!({"name": ["dcos", "other"]}));
        assert_eq!(named["images"], json!([{"Id": "sha256:1"}]));
    }
}
