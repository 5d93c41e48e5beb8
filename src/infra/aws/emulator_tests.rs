//! The kinds against an emulator of AWS: `AWS_ENDPOINT_URL` says where it listens (moto), on loopback.

use std::path::PathBuf;
use std::sync::Arc;

use super::Account;
use super::client::{Access, Clients, Keys};
use crate::infra::apply::{apply, destroy, find_all};
use crate::infra::declare;
use crate::infra::plan::{Act, Planner};
use crate::source::{Diagnostics, Sources};
use crate::template::{self, Scope, SearchPath, Templates, Var};

#[derive(Debug)]
struct Nothing;

impl Scope for Nothing {
    fn get(&self, _: &str) -> Option<Var> {
        None
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn search(&self) -> SearchPath {
        SearchPath::default()
    }
}

const NET: &str = "name: net-test
resources:
  vpc: {ec2_vpc_net: {cidr_block: 10.77.1.5/16, tags: {team: a}}}
  gate: {ec2_vpc_igw: {vpc_id: '{{ vpc.id }}'}}
  public: {ec2_vpc_subnet: {vpc_id: '{{ vpc.id }}', cidr: 10.77.0.0/24, map_public: true}}
  door: {ec2_security_group: {description: d, vpc_id: '{{ vpc.id }}', rules: [{ports: [22, 443], cidr_ip: 0.0.0.0/0}], rules_egress: [{proto: udp, ports: 53, cidr_ip: 10.0.0.0/8}]}}
  inner: {ec2_security_group: {description: d, vpc_id: '{{ vpc.id }}', rules: [{proto: all, group_id: '{{ door.group_id }}'}]}}
  private: {ec2_vpc_subnet: {vpc_id: '{{ vpc.id }}', cidr: 10.77.1.0/24}}
";

#[tokio::test]
#[ignore = "needs an emulator at AWS_ENDPOINT_URL"]
async fn a_network_is_made_kept_repaired_and_taken_down() {
    let url = std::env::var("AWS_ENDPOINT_URL").unwrap();
    assert!(url.starts_with("http://127.0.0.1:"), "only an emulator on loopback");
    let keys = Keys { access_key: "test".into(), secret_key: "test".into(), session_token: None };
    let access = Access {
        region: Some("eu-west-1".into()),
        endpoint_url: Some(url),
        keys: Some(keys),
        ..Access::default()
    };
    let clients = Clients::new(&access).await.unwrap();
    let account = Account::new(clients.clone());
    let sources = Sources::new(PathBuf::from("/"));
    let source = sources.add(PathBuf::from("/net.yml"), NET.to_owned());
    let node = crate::source::parse(&sources, source).unwrap();
    let templates = Templates::new(template::Options::default());
    let declared = declare::read(&node, &templates, &mut Diagnostics::default()).unwrap();
    let planner = Planner {
        declared: &declared,
        owner: "net-test",
        cloud: &account,
        templates: &templates,
        scope: Arc::new(Nothing),
    };
    let outcome = apply(&planner, false).await;
    assert!(outcome.faults.is_empty(), "{:?}", outcome.faults);
    let found = find_all(&account, "net-test").await.unwrap();
    assert_eq!(found.len(), 6);
    let plan = planner.plan(&found).unwrap();
    assert!(plan.is_empty(), "{}", plan.show());
    // Drift: an attribute, a tag and an attachment changed by hand.
    let subnet = found.iter().find(|f| f.identity.resource == "public").unwrap();
    super::ec2_vpc_subnet::set(&clients, &subnet.id, "map_public", &false.into()).await.unwrap();
    let vpc = found.iter().find(|f| f.identity.resource == "vpc").unwrap();
    let odd = super::tags::tag("intruder", "1");
    clients.ec2.create_tags().resources(&vpc.id).tags(odd).send().await.unwrap();
    let gate = found.iter().find(|f| f.identity.resource == "gate").unwrap();
    let detach = clients.ec2.detach_internet_gateway().internet_gateway_id(&gate.id).vpc_id(&vpc.id);
    detach.send().await.unwrap();
    let drifted = planner.plan(&find_all(&account, "net-test").await.unwrap()).unwrap();
    assert_eq!(drifted.items.iter().filter(|i| i.act == Act::Update).count(), 3, "{}", drifted.show());
    let outcome = apply(&planner, false).await;
    assert!(outcome.faults.is_empty(), "{:?}", outcome.faults);
    let found = find_all(&account, "net-test").await.unwrap();
    assert!(planner.plan(&found).unwrap().is_empty());
    let (outcome, left) = destroy(&account, "net-test").await.unwrap();
    assert!(outcome.faults.is_empty() && left.is_empty(), "{:?}", outcome.faults);
    assert_eq!(outcome.done.len(), 6);
}
