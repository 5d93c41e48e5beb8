//! The critical path: which steps the length of a run came from.
//!
//! Owns: the pure walk back from the last step. Must not: know how it is drawn.

/// A step as far as the walk needs it; times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) host: usize,
    pub(super) start: u64,
    pub(super) end: u64,
}

/// A gap that is too short for waiting: the engine's own work between two steps of a host.
const AT_ONCE: u64 = 30;

/// The steps on the critical path, first to last, as positions in `steps`.
///
/// Behind each step stands what it had to wait for: the step before it on the same host when that ended right before,
/// else whatever step ended last before it began, because that is what lifted the wait.
pub(super) fn path(steps: &[Span]) -> Vec<usize> {
    let mut by_end: Vec<usize> = (0..steps.len()).collect();
    by_end.sort_by_key(|at| (steps[*at].end, *at));
    let mut path = Vec::new();
    let Some(mut now) = by_end.last().copied() else { return path };
    loop {
        path.push(now);
        let start = steps[now].start;
        // All that ended before this step began; the step itself is not among them, unless it took no time at all.
        let before = by_end.partition_point(|at| steps[*at].end <= start);
        let mut earlier = by_end[..before]
            .iter()
            .rev()
            .copied()
            .filter(|at| *at != now && (steps[*at].start, *at) < (steps[now].start, now));
        let Some(latest) = earlier.clone().next() else { break };
        let own = earlier.find(|at| steps[*at].host == steps[now].host);
        now = match own {
            Some(own) if steps[own].end + AT_ONCE >= start => own,
            _ => latest,
        };
    }
    path.reverse();
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(host: usize, start: u64, end: u64) -> Span {
        Span { host, start, end }
    }

    #[test]
    fn a_host_without_waits_is_its_own_path() {
        assert_eq!(path(&[step(0, 0, 100), step(0, 101, 300), step(0, 302, 400)]), [0, 1, 2]);
        assert_eq!(path(&[]), Vec::<usize>::new());
    }

    #[test]
    fn a_wait_leads_to_the_host_that_was_waited_for() {
        let steps = [step(0, 0, 100), step(1, 0, 900), step(0, 905, 1000), step(1, 905, 950)];
        assert_eq!(path(&steps), [1, 2]);
    }

    #[test]
    fn steps_that_take_no_time_end_the_walk() {
        let steps = [step(0, 5, 5), step(1, 5, 5), step(0, 5, 5)];
        assert_eq!(path(&steps).last(), Some(&2));
        assert_eq!(path(&steps).first(), Some(&0));
    }
}
