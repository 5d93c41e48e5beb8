//! The reference's vectors, and a comparison with every possible order.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::dcos::ensemble::Ensemble;

fn list(text: &str) -> Ensemble {
    Ensemble::parse(text.split_whitespace()).expect("a list of masters")
}

fn address(text: &str) -> Ipv4Addr {
    text.parse().expect("an address")
}

fn ids(plan: &Plan) -> Vec<usize> {
    plan.steps.iter().map(|step| step.id).collect()
}

fn moves(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(|s| format!("{} {} -> {}", s.id, s.out, s.into)).collect()
}

fn impossible(from: &Ensemble, to: &Ensemble) -> Impossible {
    match plan(from, to, Wanted::default()) {
        Err(Refusal::Shifts(why)) => *why,
        other => panic!("ids move: {other:?}"),
    }
}

/// A single replacement by the rule itself: sort again, and look whether anybody else has another id.
fn keeps_ids(now: &[Ipv4Addr], out: Ipv4Addr, into: Ipv4Addr) -> Option<Vec<Ipv4Addr>> {
    let mut next: Vec<Ipv4Addr> = now.iter().copied().filter(|a| *a != out).chain([into]).collect();
    next.sort_by_key(ToString::to_string);
    let id = |list: &[Ipv4Addr], a: Ipv4Addr| list.iter().position(|b| *b == a);
    now.iter().filter(|a| **a != out).all(|a| id(now, *a) == id(&next, *a)).then_some(next)
}

/// Every order of direct replacements from `now` to `target`, as the addresses that leave.
fn orders(now: &[Ipv4Addr], target: &[Ipv4Addr]) -> Vec<Vec<Ipv4Addr>> {
    if now == target {
        return vec![Vec::new()];
    }
    let mut found = Vec::new();
    for out in now.iter().filter(|a| !target.contains(a)) {
        for into in target.iter().filter(|a| !now.contains(a)) {
            if let Some(next) = keeps_ids(now, *out, *into) {
                found.extend(orders(&next, target).into_iter().map(|mut rest| {
                    rest.insert(0, *out);
                    rest
                }));
            }
        }
    }
    found
}

const V1: (&str, &str) = (
    "10.10.0.149 10.10.0.158 10.10.0.236 100.10.0.158 100.10.0.66",
    "10.10.0.184 10.10.0.230 10.10.0.233 100.10.0.147 100.10.0.85",
);

struct Vector {
    from: &'static str,
    to: &'static str,
    leader: Option<&'static str>,
    ids: &'static [usize],
    first: &'static [usize],
    orders: usize,
    leader_early: bool,
}

#[test]
fn the_vectors_of_the_reference_give_these_orders() {
    let v = |from, to, leader, ids, first, orders, leader_early| Vector {
        from,
        to,
        leader,
        ids,
        first,
        orders,
        leader_early,
    };
    let vectors = [
        ("V1", v(V1.0, V1.1, None, &[2, 1, 3, 4, 5], &[2, 3, 4, 5], 60, false)),
        (
            "V3",
            v(
                "10.0.0.11 10.0.0.12 10.0.0.13",
                "10.0.0.125 10.0.0.135 10.0.0.14",
                None,
                &[3, 2, 1],
                &[3],
                1,
                false,
            ),
        ),
        (
            "V4",
            v(
                "10.0.0.14 10.0.0.16 10.0.0.18",
                "10.0.0.11 10.0.0.12 10.0.0.15",
                None,
                &[1, 2, 3],
                &[1],
                1,
                false,
            ),
        ),
        ("V6", v("10.0.0.10 10.0.0.8 10.0.0.9", "10.0.0.10 10.0.0.85 10.0.0.9", None, &[2], &[2], 1, false)),
        (
            "V8",
            v(
                "10.0.1.20 10.0.1.30 10.0.1.40 10.0.1.50 10.0.1.60",
                "10.0.1.25 10.0.1.30 10.0.1.45 10.0.1.55 10.0.1.65",
                Some("10.0.1.60"),
                &[1, 3, 4, 5],
                &[1, 3, 4, 5],
                24,
                false,
            ),
        ),
        (
            "V9",
            v(
                "10.0.2.10 10.0.2.20 10.0.2.30",
                "10.0.2.10 10.0.2.35 10.0.2.40",
                Some("10.0.2.30"),
                &[3, 2],
                &[3],
                1,
                true,
            ),
        ),
        (
            "V10",
            v(
                "10.0.2.10 10.0.2.20 10.0.2.30",
                "10.0.2.11 10.0.2.21 10.0.2.31",
                Some("10.0.2.10"),
                &[2, 3, 1],
                &[1, 2, 3],
                6,
                false,
            ),
        ),
    ];
    for (name, vector) in vectors {
        let (from, to) = (list(vector.from), list(vector.to));
        let wanted = Wanted { leader: vector.leader.map(address), rejoin: false };
        let found = plan(&from, &to, wanted).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(ids(&found), vector.ids, "{name}");
        assert_eq!(found.first_ids, vector.first, "{name}");
        assert_eq!(found.leader_early, vector.leader_early, "{name}");
        assert!(found.steps.iter().all(|step| !step.wiped && !step.returns), "{name}");
        assert_eq!(orders(from.addresses(), to.addresses()).len(), vector.orders, "{name}");
    }
}

#[test]
fn a_blocked_slot_names_the_one_before_it() {
    let found = plan(&list(V1.0), &list(V1.1), Wanted::default()).expect("an order");
    assert_eq!(found.blocked_ids, [1]);
    assert_eq!(found.steps[1].after, [2]);
    assert_eq!(found.steps[0].after, [] as [usize; 0]);
}

#[test]
fn a_valid_step_that_leads_to_a_dead_end_is_not_taken() {
    let found = plan(&list(V1.0), &list(V1.1), Wanted::default()).expect("an order");
    let moves = moves(&found);
    assert!(keeps_ids(list(V1.0).addresses(), address("10.10.0.158"), address("10.10.0.184")).is_some());
    assert_eq!(moves[0], "2 10.10.0.158 -> 10.10.0.230");
}

#[test]
fn lists_that_move_ids_are_refused_with_a_plan_of_wiped_masters() {
    let cases = [
        (
            "V2",
            "172.31.16.60 172.31.18.152 172.31.29.145 172.31.29.82 172.31.31.63",
            "172.31.16.60 172.31.18.152 172.31.22.240 172.31.29.145 172.31.29.82",
            vec![("172.31.29.145", 3, 4), ("172.31.29.82", 4, 5)],
            vec![
                "3 172.31.29.145 -> 172.31.22.240",
                "4 172.31.29.82 -> 172.31.29.145",
                "5 172.31.31.63 -> 172.31.29.82",
            ],
        ),
        (
            "V5",
            "10.0.0.10 10.0.0.8 10.0.0.9",
            "10.0.0.8 10.0.0.9 10.0.0.99",
            vec![("10.0.0.8", 2, 1), ("10.0.0.9", 3, 2)],
            vec!["3 10.0.0.9 -> 10.0.0.99", "2 10.0.0.8 -> 10.0.0.9", "1 10.0.0.10 -> 10.0.0.8"],
        ),
        (
            "V7",
            "10.0.0.21 10.0.0.22 10.0.0.23",
            "10.0.0.22 10.0.0.23 10.0.0.24",
            vec![("10.0.0.22", 2, 1), ("10.0.0.23", 3, 2)],
            vec!["3 10.0.0.23 -> 10.0.0.24", "2 10.0.0.22 -> 10.0.0.23", "1 10.0.0.21 -> 10.0.0.22"],
        ),
    ];
    for (name, from, to, shifted, rejoin) in cases {
        let (from, to) = (list(from), list(to));
        let why = impossible(&from, &to);
        let found: Vec<_> = why.shifted.iter().map(|s| (s.address.to_string(), s.from, s.to)).collect();
        let shifted: Vec<_> = shifted.into_iter().map(|(a, f, t)| (a.to_owned(), f, t)).collect();
        assert_eq!(found, shifted, "{name}");
        assert_eq!(moves(&why.rejoin), rejoin, "{name}");
        assert_eq!(why.extra, shifted.len(), "{name}");
        assert!(orders(from.addresses(), to.addresses()).is_empty(), "{name}");
        let allowed = plan(&from, &to, Wanted { leader: None, rejoin: true }).expect("a rejoin plan");
        assert_eq!(allowed, why.rejoin, "{name}");
    }
}

#[test]
fn a_refusal_tells_which_addresses_fit_the_slot_that_leaves() {
    let why = impossible(
        &list("172.31.16.60 172.31.18.152 172.31.29.145 172.31.29.82 172.31.31.63"),
        &list("172.31.16.60 172.31.18.152 172.31.22.240 172.31.29.145 172.31.29.82"),
    );
    let leaving: Vec<&Gap> = why.gaps.iter().filter(|gap| gap.leaves).collect();
    assert_eq!(leaving.len(), 1);
    assert_eq!((leaving[0].id, leaving[0].above, leaving[0].below), (5, Some(address("172.31.29.82")), None));
    assert!(leaving[0].fitting.is_empty());
    assert_eq!(why.gaps[2].fitting, [address("172.31.22.240")]);
}

#[test]
fn masters_that_sort_behind_all_others_are_simply_added() {
    let from = list("172.31.27.182 172.31.27.57 172.31.31.133");
    let to = list("172.31.27.182 172.31.27.57 172.31.31.133 172.31.31.140 172.31.40.9");
    let found = plan(&from, &to, Wanted::default()).expect("V12 keeps ids");
    assert!(found.steps.is_empty());
    let added: Vec<_> = found.additions.iter().map(|a| (a.id, a.address.to_string(), a.wiped)).collect();
    assert_eq!(added, [(4, "172.31.31.140".to_owned(), false), (5, "172.31.40.9".to_owned(), false)]);
}

#[test]
fn an_expansion_that_moves_ids_is_prepared_first() {
    let from = list("172.31.27.182 172.31.27.57 172.31.31.133");
    let to = list("172.31.27.182 172.31.27.57 172.31.30.129 172.31.30.220 172.31.31.133");
    let why = impossible(&from, &to);
    assert_eq!(why.shifted, [Shift { address: address("172.31.31.133"), from: 3, to: 5 }]);
    assert_eq!(moves(&why.rejoin), ["3 172.31.31.133 -> 172.31.30.129"]);
    let added: Vec<_> = why.rejoin.additions.iter().map(|a| (a.id, a.address.to_string(), a.wiped)).collect();
    assert_eq!(added, [(4, "172.31.30.220".to_owned(), false), (5, "172.31.31.133".to_owned(), true)]);
}

#[test]
fn what_has_no_way_is_refused_with_its_reason() {
    let three = list("10.0.0.1 10.0.0.2 10.0.0.3");
    let one = list("10.0.0.1");
    let text = |from: &Ensemble, to: &Ensemble, leader: Option<&str>| {
        plan(from, to, Wanted { leader: leader.map(address), rejoin: true }).expect_err("refused").to_string()
    };
    assert!(text(&three, &one, None).starts_with("3 masters cannot become 1: a smaller list"));
    assert!(text(&one, &three, None).starts_with("a single master cannot be replaced or joined"));
    assert_eq!(text(&three, &three, Some("10.0.0.9")), "the leader `10.0.0.9` is not in the current list");
    assert_eq!(
        plan(&one, &one, Wanted::default()),
        Ok(Plan {
            steps: vec![],
            additions: vec![],
            first_ids: vec![],
            blocked_ids: vec![],
            leader_early: false
        })
    );
}

/// Addresses whose order as text and as numbers differs often.
fn pool() -> impl Strategy<Value = Ipv4Addr> {
    let last =
        prop::sample::select(vec![1u8, 2, 8, 9, 10, 11, 12, 19, 20, 25, 80, 85, 90, 99, 100, 101, 110, 200]);
    let first = prop::sample::select(vec![10u8, 100]);
    (first, last).prop_map(|(a, d)| Ipv4Addr::new(a, 0, 0, d))
}

/// Two lists of the same length that share some masters.
fn lists() -> impl Strategy<Value = (Vec<Ipv4Addr>, Vec<Ipv4Addr>)> {
    (prop::sample::select(vec![3usize, 5]), 1..=5usize).prop_flat_map(|(count, changed)| {
        let changed = changed.min(count);
        prop::collection::btree_set(pool(), count + changed).prop_flat_map(move |all| {
            let all: Vec<Ipv4Addr> = all.into_iter().collect();
            Just(all).prop_shuffle().prop_map(move |all| (all[..count].to_vec(), all[changed..].to_vec()))
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_plan_agrees_with_every_possible_order((from, to) in lists(), leads in 0usize..5) {
        let (from, to) = (Ensemble::new(from).expect("a list"), Ensemble::new(to).expect("a list"));
        let leader = from.addresses()[leads % from.addresses().len()];
        let wanted = Wanted { leader: Some(leader), rejoin: false };
        let all = orders(from.addresses(), to.addresses());
        match plan(&from, &to, wanted) {
            Ok(found) => {
                let outs: Vec<Ipv4Addr> = found.steps.iter().map(|step| step.out).collect();
                prop_assert!(all.contains(&outs));
                let at = |order: &[Ipv4Addr]| order.iter().position(|a| *a == leader);
                prop_assert_eq!(at(&outs), all.iter().filter_map(|order| at(order)).max());
                let firsts: std::collections::BTreeSet<usize> =
                    all.iter().filter_map(|order| order.first().and_then(|a| from.id(*a))).collect();
                prop_assert_eq!(found.first_ids, firsts.into_iter().collect::<Vec<_>>());
            }
            Err(refusal) => {
                prop_assert!(matches!(refusal, Refusal::Shifts(_)), "{}", refusal);
                prop_assert!(all.is_empty());
            }
        }
    }

    #[test]
    fn a_rejoin_plan_always_arrives_and_never_moves_an_id((from, to) in lists()) {
        let (from, to) = (Ensemble::new(from).expect("a list"), Ensemble::new(to).expect("a list"));
        let found = plan(&from, &to, Wanted { leader: None, rejoin: true }).expect("always a way");
        let mut now = from.addresses().to_vec();
        for step in &found.steps {
            prop_assert!(!now.contains(&step.into));
            now = keeps_ids(&now, step.out, step.into).expect("no id moves");
        }
        prop_assert_eq!(now, to.addresses());
        let differing = from.addresses().iter().zip(to.addresses()).filter(|(a, b)| a != b).count();
        prop_assert_eq!(found.steps.len(), differing);
    }
}
