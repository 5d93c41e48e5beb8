//! A list of static masters, and the ZooKeeper ids that follow from it.
//!
//! Owns: the sort that gives ids, which lists are possible. Must not: know replacements.

use std::fmt;
use std::net::Ipv4Addr;

/// How many masters a cluster may have.
pub const COUNTS: [usize; 5] = [1, 3, 5, 7, 9];

/// Static masters in the order of their ZooKeeper ids.
///
/// The id is the position, from 1, in a sort of the addresses as text, byte by byte: `10.0.0.10` comes before
/// `10.0.0.9`. DC/OS computes it so wherever it writes the static ensemble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ensemble(Vec<Ipv4Addr>);

/// Why a list of addresses is no list of masters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    #[error("`{0}` is not an IPv4 address")]
    NotAnAddress(String),
    #[error("`{0}` is listed twice")]
    Twice(Ipv4Addr),
    #[error("{0} masters are not possible: DC/OS allows 1, 3, 5, 7 or 9")]
    Count(usize),
}

impl Ensemble {
    /// Sorts addresses into an ensemble.
    ///
    /// # Errors
    /// An address listed twice, or a number of masters that DC/OS refuses.
    pub fn new(addresses: impl IntoIterator<Item = Ipv4Addr>) -> Result<Self, ListError> {
        let mut all: Vec<Ipv4Addr> = addresses.into_iter().collect();
        all.sort_by_key(bytes);
        if let Some(pair) = all.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(ListError::Twice(pair[0]));
        }
        if COUNTS.contains(&all.len()) { Ok(Self(all)) } else { Err(ListError::Count(all.len())) }
    }

    /// Reads addresses; blanks around them do not count.
    ///
    /// # Errors
    /// As [`Ensemble::new`], and what is no IPv4 address.
    pub fn parse<T: AsRef<str>>(words: impl IntoIterator<Item = T>) -> Result<Self, ListError> {
        let mut all = Vec::new();
        for word in words {
            let word = word.as_ref().trim();
            all.push(word.parse().map_err(|_| ListError::NotAnAddress(word.to_owned()))?);
        }
        Self::new(all)
    }

    /// Addresses by id; the first has id 1.
    #[must_use]
    pub fn addresses(&self) -> &[Ipv4Addr] {
        &self.0
    }

    /// The id of an address.
    #[must_use]
    pub fn id(&self, address: Ipv4Addr) -> Option<usize> {
        self.0.iter().position(|a| *a == address).map(|at| at + 1)
    }
}

/// As DC/OS writes it into the configuration of Exhibitor: `1:10.0.0.1,2:10.0.0.2`.
impl fmt::Display for Ensemble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, address) in self.0.iter().enumerate() {
            write!(f, "{}{}:{address}", if at == 0 { "" } else { "," }, at + 1)?;
        }
        Ok(())
    }
}

/// The key of the sort.
#[must_use]
pub fn bytes(address: &Ipv4Addr) -> String {
    address.to_string()
}

/// Whether `a` comes before `b`.
#[must_use]
pub fn before(a: Ipv4Addr, b: Ipv4Addr) -> bool {
    bytes(&a) < bytes(&b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_the_bytes_of_the_text_and_not_the_numbers() {
        let found = Ensemble::parse(["10.0.0.8", "100.10.0.66", "10.0.0.10", "100.10.0.158", "10.0.0.9"]);
        let text: Vec<String> = found.expect("fine").addresses().iter().map(ToString::to_string).collect();
        assert_eq!(text, ["10.0.0.10", "10.0.0.8", "10.0.0.9", "100.10.0.158", "100.10.0.66"]);
    }

    #[test]
    fn a_list_has_an_allowed_length_and_each_address_once() {
        let error = |words: &[&str]| Ensemble::parse(words).expect_err("wrong").to_string();
        assert_eq!(error(&["10.0.0.1", "10.0.0.2", "10.0.0.1"]), "`10.0.0.1` is listed twice");
        assert_eq!(error(&["10.0.0.1", "x", "10.0.0.3"]), "`x` is not an IPv4 address");
        assert_eq!(
            error(&["10.0.0.1", "10.0.0.2"]),
            "2 masters are not possible: DC/OS allows 1, 3, 5, 7 or 9"
        );
    }
}
