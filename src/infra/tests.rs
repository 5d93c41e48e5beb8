//! The rules of planning, applying and destroying, against a cloud in memory.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::apply::{ApplyFault, Leave, Outcome, Unwatched, apply, destroy, find_all};
use super::cloud::{Cloud, Found, Options};
use super::declare::{self, Declared};
use super::fault::{Class, CloudFault};
use super::identity::{Identity, Tags};
use super::kinds::Kind;
use super::plan::{Act, Plan, PlanFault, Planner};
use super::site::Site;
use crate::source::{Diagnostics, Sources};
use crate::template::{self, Scope, SearchPath, Templates, Value, Var};

/// Keeps objects, refuses to delete what is in use, and dies at a call if told to.
#[derive(Default)]
struct Fake {
    world: Mutex<World>,
}

#[derive(Default)]
struct World {
    objects: Vec<Found>,
    calls: Vec<String>,
    made: usize,
    /// Changing calls left until the "process" dies: the call is carried out and its reply lost.
    lives: Option<usize>,
}

impl Fake {
    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.world.lock().unwrap().calls)
    }
}

fn lost(world: &mut World, call: String) -> Result<(), CloudFault> {
    let dead =
        CloudFault { class: Class::Transient, call: "fake", code: String::new(), message: "lost".into() };
    world.calls.push(call);
    match &mut world.lives {
        None => Ok(()),
        Some(0) => Err(dead),
        Some(1) => {
            world.lives = Some(0);
            Err(dead)
        }
        Some(n) => {
            *n -= 1;
            Ok(())
        }
    }
}

impl Cloud for Fake {
    fn find<'a>(&'a self, kind: Kind, _: &'a str) -> BoxFuture<'a, Result<Vec<Found>, CloudFault>> {
        // Foreign objects come along, as from a filter that is ignored.
        let all = self.world.lock().unwrap().objects.iter().filter(|f| f.kind == kind).cloned().collect();
        async move { Ok(all) }.boxed()
    }

    fn normal(&self, kind: Kind, _: &Identity, mut options: Options) -> Result<Options, CloudFault> {
        options.remove("name");
        if kind == Kind::Vpc {
            options.entry("dns_support").or_insert(true.into());
        }
        if kind == Kind::Instance {
            options.insert("wait".to_owned(), true.into());
        }
        Ok(options)
    }

    fn create<'a>(
        &'a self,
        kind: Kind,
        identity: &'a Identity,
        tags: &'a Tags,
        wanted: &'a Options,
    ) -> BoxFuture<'a, Result<Found, CloudFault>> {
        async move {
            let mut world = self.world.lock().unwrap();
            if world.lives == Some(0) {
                return Err(lost(&mut world, "dead".into()).unwrap_err());
            }
            world.made += 1;
            let id = format!("{}-{}", kind.name(), world.made);
            let mut state = wanted.clone();
            // Not all can be set in the create call.
            state.retain(|option, _| !matches!(option.as_str(), "dns_support" | "rules" | "count" | "wait"));
            let serde_json::Value::Object(result) = serde_json::json!({
                "id": id,
                "instance_id": id,
                "map_public_ip_on_launch": wanted.get("map_public").is_some_and(|v| v == true),
                "tags": tags,
            }) else {
                unreachable!()
            };
            let found = Found { kind, id, identity: identity.clone(), tags: tags.clone(), state, result };
            world.objects.push(found.clone());
            lost(&mut world, format!("create {identity}")).map(|()| found)
        }
        .boxed()
    }

    fn update<'a>(
        &'a self,
        found: &'a Found,
        tags: &'a Tags,
        wanted: &'a Options,
        changed: &'a [String],
    ) -> BoxFuture<'a, Result<Found, CloudFault>> {
        async move {
            let mut world = self.world.lock().unwrap();
            if world.lives == Some(0) {
                return Err(lost(&mut world, "dead".into()).unwrap_err());
            }
            let one = world.objects.iter_mut().find(|f| f.id == found.id).unwrap();
            one.tags.clone_from(tags);
            for option in changed.iter().filter(|o| *o != "tags") {
                one.state.insert(option.clone(), wanted[option].clone());
            }
            let one = one.clone();
            lost(&mut world, format!("update {} {}", found.identity, changed.join(","))).map(|()| one)
        }
        .boxed()
    }

    fn delete<'a>(&'a self, found: &'a Found) -> BoxFuture<'a, Result<(), CloudFault>> {
        async move {
            let mut world = self.world.lock().unwrap();
            if world.lives == Some(0) {
                return Err(lost(&mut world, "dead".into()).unwrap_err());
            }
            let user = world.objects.iter().find(|other| {
                other.id != found.id
                    && serde_json::to_string(&other.state).unwrap().contains(&format!("\"{}\"", found.id))
            });
            if let Some(user) = user {
                let message = format!("{} is used by {}", found.id, user.id);
                return Err(CloudFault {
                    class: Class::Dependency,
                    call: "fake",
                    code: String::new(),
                    message,
                });
            }
            world.objects.retain(|f| f.id != found.id);
            lost(&mut world, format!("delete {}", found.identity))
        }
        .boxed()
    }
}

#[derive(Debug, Default)]
struct Vars(HashMap<&'static str, Value>);

impl Scope for Vars {
    fn get(&self, name: &str) -> Option<Var> {
        self.0.get(name).cloned().map(Var::Data)
    }

    fn names(&self) -> Vec<String> {
        self.0.keys().map(ToString::to_string).collect()
    }

    fn search(&self) -> SearchPath {
        SearchPath::default()
    }
}

fn templates() -> Templates {
    Templates::new(template::Options::default())
}

fn read(text: &str) -> (Option<Declared>, Diagnostics) {
    let sources = Sources::new(PathBuf::from("/"));
    let id = sources.add(PathBuf::from("/infrastructure.yml"), text.to_owned());
    let node = crate::source::parse(&sources, id).unwrap();
    let mut out = Diagnostics::default();
    let declared = declare::read(&node, &templates(), &mut out);
    (declared, out)
}

fn good(text: &str) -> Declared {
    let (declared, out) = read(text);
    assert!(out.list.is_empty(), "{:?}", out.list);
    declared.unwrap()
}

fn planner<'a>(declared: &'a Declared, cloud: &'a Fake, templates: &'a Templates) -> Planner<'a> {
    let scope = Arc::new(Vars::default());
    Planner { declared, owner: "prod", cloud, templates, scope, replace: &[], leaving: &[] }
}

fn run(text: &str, cloud: &Fake, allow_replace: bool) -> Outcome {
    let (declared, templates) = (good(text), templates());
    let leave = if allow_replace { Leave::Replace } else { Leave::Keep };
    block(apply(&planner(&declared, cloud, &templates), leave, &Unwatched))
}

fn plan(text: &str, cloud: &Fake) -> Plan {
    let (declared, templates) = (good(text), templates());
    let found = block(find_all(cloud, "prod", &|_| false)).unwrap();
    planner(&declared, cloud, &templates).plan(&found).unwrap()
}

fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

const NET: &str = "name: prod
resources:
  web: {ec2_instance: {count: 2, image_id: ami-1, instance_type: m5.large, subnet_id: '{{ public.id }}', security_groups: ['{{ sg.id }}']}}
  public: {ec2_vpc_subnet: {vpc_id: '{{ vpc.id }}', cidr: 10.0.0.0/24}}
  sg: {ec2_security_group: {description: d, vpc_id: '{{ vpc.id }}', rules: [{proto: tcp, ports: [22], cidr_ip: 10.0.0.0/16}]}}
  vpc: {ec2_vpc_net: {cidr_block: 10.0.0.0/16, tags: {team: a}}}
";

#[test]
fn references_are_edges_and_decide_the_order() {
    let declared = good(NET);
    let names: Vec<&str> = declared.order.iter().map(|at| &*declared.resources[*at].name.value).collect();
    assert_eq!(names, ["vpc", "public", "sg", "web"]);
}

#[test]
fn a_cycle_is_an_error_with_every_place() {
    let (declared, out) = read(
        "name: prod\nresources:\n  a: {ec2_vpc_igw: {vpc_id: '{{ b.id }}'}}\n  b: {ec2_vpc_igw: {vpc_id: '{{ a.id }}'}}\n",
    );
    assert!(declared.is_none());
    assert_eq!(out.list[0].message, "resources refer to each other in a circle: `a`, `b`");
    assert_eq!(out.list[0].labels.len(), 2);
}

#[test]
fn slips_in_kinds_and_options_are_found_together() {
    let (_, out) = read(
        "name: prod\nresources:\n  a: {ec2_vpc_nett: {}}\n  b: {ec2_vpc_subnet: {vpc_id: x, cidrr: 10.0.0.0/24, cidr: y}}\n",
    );
    let messages: Vec<&str> = out.list.iter().map(|d| &*d.message).collect();
    assert_eq!(
        messages,
        [
            "there is no kind of resource `ec2_vpc_nett`",
            "`ec2_vpc_subnet` has no option `cidrr`, did you mean `cidr`?"
        ]
    );
}

#[test]
fn a_plan_for_nothing_creates_everything_and_marks_what_is_unknown() {
    let shown = plan(NET, &Fake::default()).show();
    assert!(shown.contains("+ create public (ec2_vpc_subnet)\n"), "{shown}");
    assert!(shown.contains("    vpc_id: (known when applied)\n"), "{shown}");
    assert!(shown.contains("+ create web[1] (ec2_instance)\n"), "{shown}");
    assert!(shown.ends_with("5 to create, 0 to update, 0 to replace, 0 to delete\n"), "{shown}");
}

#[test]
fn a_plan_after_a_run_is_empty() {
    let cloud = Fake::default();
    let outcome = run(NET, &cloud, false);
    assert!(outcome.faults.is_empty(), "{:?}", outcome.faults);
    assert!(plan(NET, &cloud).is_empty(), "{}", plan(NET, &cloud).show());
    cloud.calls();
    run(NET, &cloud, false);
    assert_eq!(cloud.calls(), Vec::<String>::new());
}

#[test]
fn what_a_create_cannot_set_is_set_at_once() {
    let cloud = Fake::default();
    run(NET, &cloud, false);
    let calls = cloud.calls();
    assert_eq!(calls[..2], ["create vpc", "update vpc dns_support"]);
    assert!(calls.contains(&"update sg rules".to_owned()), "{calls:?}");
}

#[test]
fn a_run_that_dies_at_any_call_is_repeated_without_a_double_or_an_orphan() {
    let whole = Fake::default();
    run(NET, &whole, false);
    let calls = whole.calls().len();
    let names = |cloud: &Fake| {
        let mut all: Vec<String> =
            cloud.world.lock().unwrap().objects.iter().map(|f| f.identity.to_string()).collect();
        all.sort();
        all
    };
    for at in 1..=calls {
        let cloud = Fake::default();
        cloud.world.lock().unwrap().lives = Some(at);
        assert!(!run(NET, &cloud, false).faults.is_empty(), "call {at}");
        cloud.world.lock().unwrap().lives = None;
        let again = run(NET, &cloud, false);
        assert!(again.faults.is_empty(), "call {at}: {:?}", again.faults);
        assert_eq!(names(&cloud), names(&whole), "call {at}");
        assert!(plan(NET, &cloud).is_empty(), "call {at}");
    }
}

#[test]
fn drift_is_found_and_only_that_is_changed() {
    let cloud = Fake::default();
    run(NET, &cloud, false);
    cloud.world.lock().unwrap().objects.iter_mut().for_each(|f| {
        f.tags.insert("intruder".into(), "1".into());
    });
    cloud.calls();
    // Only the vpc declares its tags; the others leave foreign ones alone.
    assert_eq!(plan(NET, &cloud).items.iter().filter(|i| i.act == Act::Update).count(), 1);
    run(NET, &cloud, false);
    assert_eq!(cloud.calls(), ["update vpc tags"]);
}

#[test]
fn a_replacement_spreads_to_what_stands_on_it_and_instances_need_leave() {
    let cloud = Fake::default();
    run(NET, &cloud, false);
    let wider = NET.replace("cidr_block: 10.0.0.0/16", "cidr_block: 10.0.0.0/8");
    let acts: Vec<Act> = plan(&wider, &cloud).items.iter().map(|i| i.act).collect();
    assert_eq!(acts, [Act::Replace; 5]);
    cloud.calls();
    let refused = run(&wider, &cloud, false);
    assert!(matches!(refused.faults[..], [ApplyFault::Replacement { .. }]), "{:?}", refused.faults);
    assert_eq!(cloud.calls(), Vec::<String>::new());
    let outcome = run(&wider, &cloud, true);
    assert!(outcome.faults.is_empty(), "{:?}", outcome.faults);
    assert_eq!(
        cloud.calls()[..6],
        ["delete web", "delete web[1]", "delete sg", "delete public", "delete vpc", "create vpc"]
    );
    assert!(plan(&wider, &cloud).is_empty());
}

#[test]
fn what_is_no_longer_declared_goes_and_fewer_instances_are_kept_from_the_first_on() {
    let cloud = Fake::default();
    run(NET, &cloud, false);
    cloud.calls();
    run(&NET.replace("count: 2", "count: 1"), &cloud, false);
    assert_eq!(cloud.calls(), ["delete web[1]"]);
}

#[test]
fn two_objects_of_one_identity_stop_the_plan() {
    let cloud = Fake::default();
    run(NET, &cloud, false);
    let mut double = cloud.world.lock().unwrap().objects[0].clone();
    double.id = "vpc-2".into();
    cloud.world.lock().unwrap().objects.push(double);
    let outcome = run(NET, &cloud, false);
    assert!(
        matches!(&outcome.faults[..], [ApplyFault::Plan(PlanFault::Doubled { ids, .. })] if ids.len() == 2)
    );
}

#[test]
fn destroy_takes_all_that_is_ours_and_nothing_else() {
    let cloud = Fake::default();
    run(NET, &cloud, false);
    let mut foreign = cloud.world.lock().unwrap().objects[0].clone();
    foreign.id = "vpc-foreign".into();
    foreign.identity.owner = "other".into();
    cloud.world.lock().unwrap().objects.push(foreign);
    let (outcome, left) = block(destroy(&cloud, "prod", &|_| false, &[], &Unwatched)).unwrap();
    assert!(outcome.faults.is_empty() && left.is_empty(), "{:?}", outcome.faults);
    assert_eq!(cloud.world.lock().unwrap().objects.len(), 1);
}

#[test]
fn a_failure_leaves_out_only_what_needs_it() {
    let cloud = Fake::default();
    let text = "name: prod\nresources:\n  vpc: {ec2_vpc_net: {cidr_block: 10.0.0.0/16}}\n  gate: {ec2_vpc_igw: {vpc_id: '{{ vpc.id }}'}}\n";
    cloud.world.lock().unwrap().lives = Some(1);
    let outcome = run(text, &cloud, false);
    assert_eq!(outcome.left_out, ["gate"]);
    assert_eq!(outcome.faults[0].to_string(), "`vpc`: fake: lost");
}

#[test]
fn objects_of_one_rank_that_use_each_other_go_one_after_the_other() {
    let cloud = Fake::default();
    let text = "name: prod
resources:
  door: {ec2_security_group: {description: d, vpc_id: v}}
  inner: {ec2_security_group: {description: d, vpc_id: v, rules: ['{{ door.id }}']}}
";
    assert!(run(text, &cloud, false).faults.is_empty());
    cloud.calls();
    let (outcome, left) = block(destroy(&cloud, "prod", &|_| false, &[], &Unwatched)).unwrap();
    assert!(outcome.faults.is_empty() && left.is_empty(), "{:?}", outcome.faults);
    assert_eq!(cloud.calls(), ["delete inner", "delete door"]);
}

#[test]
fn a_resource_that_is_not_wanted_is_not_made_and_goes_when_it_is_there() {
    let cloud = Fake::default();
    let text = "name: prod
resources:
  vpc: {ec2_vpc_net: {cidr_block: 10.0.0.0/16}}
  gate: {when: WANTED, ec2_vpc_igw: {vpc_id: '{{ vpc.id }}'}}
  sub: {ec2_vpc_subnet: {vpc_id: '{{ vpc.id }}', cidr: 10.0.0.0/24, tags: {gate: \"{{ gate.id | default('none') }}\"}}}
";
    assert!(run(&text.replace("WANTED", "2 > 1"), &cloud, false).faults.is_empty());
    let without = text.replace("WANTED", "2 > 3");
    let acts: Vec<String> = plan(&without, &cloud)
        .items
        .iter()
        .filter(|i| i.act != Act::Keep)
        .map(|i| format!("{} {}", i.act.word(), i.identity))
        .collect();
    assert_eq!(acts, ["update sub", "delete gate"]);
    let outcome = run(&without, &cloud, false);
    assert!(outcome.faults.is_empty(), "{:?}", outcome.faults);
    assert!(plan(&without, &cloud).is_empty());
}

#[test]
fn an_instance_named_by_its_id_is_made_anew_once() {
    let cloud = Fake::default();
    run(NET, &cloud, false);
    let id = |cloud: &Fake| {
        let world = cloud.world.lock().unwrap();
        let web = world.objects.iter().find(|f| f.identity.to_string() == "web[1]").unwrap();
        (web.kind, web.id.clone())
    };
    let (kind, old) = id(&cloud);
    assert_eq!(kind, Kind::Instance);
    cloud.calls();
    let leaving = [old.clone()];
    let (declared, templates) = (good(NET), templates());
    let planner = Planner { leaving: &leaving, ..planner(&declared, &cloud, &templates) };
    let outcome = block(apply(&planner, Leave::Keep, &Unwatched));
    assert!(outcome.faults.is_empty(), "{:?}", outcome.faults);
    assert_eq!(cloud.calls()[..2], ["delete web[1]", "create web[1]"]);
    let (_, new) = id(&cloud);
    assert_ne!(new, old);
    // Again, as after a run that was stopped: the one that had to go is gone.
    let outcome = block(apply(&planner, Leave::Keep, &Unwatched));
    assert!(outcome.faults.is_empty(), "{:?}", outcome.faults);
    assert_eq!((cloud.calls(), id(&cloud).1), (Vec::new(), new));
}

#[test]
fn what_is_made_anew_by_the_play_is_named_by_ids_alone() {
    for (text, told) in [
        ("web", "`replace` must be a list of ids of instances, not `\"web\"`"),
        ("[web]", "`replace` takes ids of instances such as `i-0a1b2c`, not `\"web\"`"),
        ("[3]", "`replace` takes ids of instances such as `i-0a1b2c`, not `3`"),
    ] {
        let declared = good(&NET.replacen("name: prod", &format!("name: prod\nreplace: {text}"), 1));
        let scope: Arc<dyn Scope> = Arc::new(Vars::default());
        let fault = Site::of(&declared, &templates(), &scope).unwrap_err();
        assert_eq!(fault.to_string(), format!("`infrastructure`: {told}"));
    }
    let declared = good(&NET.replacen("name: prod", "name: prod\nreplace: [i-1, i-2]", 1));
    let scope: Arc<dyn Scope> = Arc::new(Vars::default());
    assert_eq!(Site::of(&declared, &templates(), &scope).unwrap().leaving, ["i-1", "i-2"]);
}

const PART: &str = "name: prod
only: [web]
resources:
  spare: {ec2_vpc_igw: {vpc_id: '{{ vpc.id }}'}}
  web: {ec2_instance: {image_id: ami-1, instance_type: m5.large, subnet_id: '{{ public.id }}', tags: {role: web}}}
  public: {ec2_vpc_subnet: {vpc_id: '{{ vpc.id }}', cidr: 10.0.0.0/24}}
  vpc: {ec2_vpc_net: {cidr_block: 10.0.0.0/16}}
  lb: {elb_classic_lb: {subnets: ['{{ public.id }}'], instance_tags: {role: web}, listeners: [{protocol: tcp, load_balancer_port: 80, instance_port: 80}]}}
";

#[test]
fn a_part_makes_what_it_names_with_what_that_needs_and_takes_nothing_away() {
    let cloud = Fake::default();
    let old = "name: prod\nresources:\n  gone: {ec2_vpc_net: {cidr_block: 10.1.0.0/16}}\n";
    run(old, &cloud, false);
    cloud.calls();
    let outcome = run(PART, &cloud, false);
    assert!(outcome.faults.is_empty() && outcome.left_out.is_empty(), "{:?}", outcome.faults);
    // Nobody waits until an instance runs that is reached from inside alone: whoever works on it does.
    assert_eq!(cloud.calls(), ["create vpc", "update vpc dns_support", "create public", "create web"]);
    // The whole goes on from there, and what nobody declares goes then.
    let whole = PART.replace("only: [web]\n", "");
    run(&whole, &cloud, false);
    assert_eq!(cloud.calls(), ["delete gone", "create spare", "update web wait", "create lb"]);
    assert!(plan(&whole, &cloud).is_empty());
}

#[test]
fn a_part_waits_for_an_instance_that_gets_a_public_address() {
    let cloud = Fake::default();
    run(&PART.replace("cidr: 10.0.0.0/24}", "cidr: 10.0.0.0/24, map_public: true}"), &cloud, false);
    assert_eq!(cloud.calls().last().unwrap(), "update web wait");
}

#[test]
fn a_part_of_a_name_that_no_resource_has_is_an_error() {
    let (_, out) = read(&PART.replace("only: [web]", "only: [wbe]"));
    assert_eq!(out.list[0].message, "no resource `wbe`");
    assert!(out.list[0].labels.iter().any(|l| l.text == "did you mean `web`?"), "{:?}", out.list[0]);
}

#[test]
fn members_by_tag_are_the_instances_that_carry_it() {
    let cloud = Fake::default();
    let other = "  db: {ec2_instance: {count: 2, image_id: ami-1, instance_type: m5.large, subnet_id: '{{ public.id }}', tags: {role: db}}}\n";
    let whole = format!("{}{other}", PART.replace("only: [web]\n", ""));
    let shown = plan(&whole, &cloud).show();
    assert!(shown.contains("    instance_ids: (known when applied)\n"), "{shown}");
    let outcome = run(&whole, &cloud, false);
    assert!(outcome.faults.is_empty(), "{:?}", outcome.faults);
    let members = |cloud: &Fake| {
        let world = cloud.world.lock().unwrap();
        let lb = world.objects.iter().find(|f| f.kind == Kind::ClassicElb).unwrap();
        lb.state["instance_ids"].as_array().unwrap().len()
    };
    assert_eq!(members(&cloud), 1);
    // More of them join; nothing but the tag decides.
    let more = whole.replace("ec2_instance: {image_id: ami-1", "ec2_instance: {count: 3, image_id: ami-1");
    run(&more, &cloud, false);
    assert_eq!(members(&cloud), 3);
    let both = whole.replace("instance_tags:", "instance_ids: [i-1], instance_tags:");
    assert!(run(&both, &cloud, false).faults[0].to_string().contains("exclude each other"));
}
