//! `serial: quorum`: batches that never touch the majority.
//!
//! Owns: the arithmetic and its words. Must not: know how a batch runs.

use std::sync::Arc;

/// The next batch of a play with so many hosts, of which some are down already.
///
/// # Errors
/// A sentence, when one more would lose the majority.
pub(super) fn batch(hosts: usize, down: &[Arc<str>]) -> Result<usize, String> {
    let spare = hosts.saturating_sub(1) / 2;
    if spare == 0 {
        let plural = if hosts == 1 { "" } else { "s" };
        return Err(format!(
            "`serial: quorum` leaves a majority untouched, which {hosts} host{plural} cannot have while one is worked on: \
             write `serial: 1` if the service may stop"
        ));
    }
    match spare.checked_sub(down.len()) {
        Some(size @ 1..) => Ok(size),
        _ => Err(format!(
            "`serial: quorum`: {} of {hosts} hosts are down ({}), one more would lose the majority: bring them back, \
             then go on with --resume",
            down.len(),
            down.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_leaves_a_majority_untouched_and_counts_those_that_are_down() {
        let down = |n: usize| (0..n).map(|i| Arc::from(format!("m{i}"))).collect::<Vec<Arc<str>>>();
        for hosts in 1..30 {
            for lost in 0..hosts {
                let untouched = |size: usize| hosts - lost - size;
                match batch(hosts, &down(lost)) {
                    Ok(size) => {
                        assert!(
                            size > 0 && untouched(size) * 2 > hosts,
                            "{hosts} hosts, {lost} down: {size}"
                        );
                        assert!(
                            untouched(size + 1) * 2 <= hosts,
                            "{hosts} hosts, {lost} down: not the largest"
                        );
                    }
                    Err(_) => assert!(untouched(1) * 2 <= hosts, "{hosts} hosts, {lost} down: refused"),
                }
            }
        }
        assert_eq!(
            (batch(3, &[]), batch(5, &[]), batch(5, &down(1)), batch(4, &[])),
            (Ok(1), Ok(2), Ok(1), Ok(1))
        );
    }
}
