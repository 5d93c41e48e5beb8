//! The password hashes of glibc's `crypt`: SHA-256, SHA-512 and MD5.
//!
//! Owns: the published SHA-crypt and MD5-crypt procedures. Must not: store anything.

use sha2::{Digest, Sha256, Sha512};

use super::math::Dice;

const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Hashes a password.
///
/// # Errors
/// An unknown scheme, or a salt with characters that `crypt` does not take.
pub(in crate::template) fn crypt(
    password: &str,
    scheme: &str,
    salt: Option<&str>,
    rounds: Option<u32>,
) -> Result<String, String> {
    let (longest, prefix) = match scheme {
        "sha512" | "sha512_crypt" => (16, "$6$"),
        "sha256" | "sha256_crypt" => (16, "$5$"),
        "md5" | "md5_crypt" => (8, "$1$"),
        other => {
            return Err(format!(
                "there is no password hash `{other}` here; there are sha512, sha256 and md5"
            ));
        }
    };
    let salt = match salt {
        Some(salt) => salt.chars().take(longest).collect::<String>(),
        None => (0..longest).map(|_| ALPHABET[Dice::System.below(64)] as char).collect(),
    };
    if !salt.bytes().all(|b| ALPHABET.contains(&b)) {
        return Err("the salt may only have letters, digits, `.` and `/`".to_owned());
    }
    if prefix == "$1$" {
        return Ok(format!("$1${salt}${}", md5_crypt(password.as_bytes(), salt.as_bytes())));
    }
    // What Ansible's library uses when no number is given; glibc's own 5000 is written without `rounds=`.
    let rounds = rounds.unwrap_or(if prefix == "$6$" { 656_000 } else { 535_000 });
    let shown = if rounds == 5000 { String::new() } else { format!("rounds={rounds}$") };
    let hash = if prefix == "$6$" {
        sha_crypt::<Sha512>(password.as_bytes(), salt.as_bytes(), rounds, &ORDER_512)
    } else {
        sha_crypt::<Sha256>(password.as_bytes(), salt.as_bytes(), rounds, &ORDER_256)
    };
    Ok(format!("{prefix}{shown}{salt}${hash}"))
}

/// Which bytes make each group of four characters; `usize::MAX` stands for no byte.
const NONE: usize = usize::MAX;
const ORDER_512: [[usize; 3]; 22] = [
    [0, 21, 42],
    [22, 43, 1],
    [44, 2, 23],
    [3, 24, 45],
    [25, 46, 4],
    [47, 5, 26],
    [6, 27, 48],
    [28, 49, 7],
    [50, 8, 29],
    [9, 30, 51],
    [31, 52, 10],
    [53, 11, 32],
    [12, 33, 54],
    [34, 55, 13],
    [56, 14, 35],
    [15, 36, 57],
    [37, 58, 16],
    [59, 17, 38],
    [18, 39, 60],
    [40, 61, 19],
    [62, 20, 41],
    [NONE, NONE, 63],
];
const ORDER_256: [[usize; 3]; 11] = [
    [0, 10, 20],
    [21, 1, 11],
    [12, 22, 2],
    [3, 13, 23],
    [24, 4, 14],
    [15, 25, 5],
    [6, 16, 26],
    [27, 7, 17],
    [18, 28, 8],
    [9, 19, 29],
    [NONE, 31, 30],
];

fn encode(digest: &[u8], order: &[[usize; 3]]) -> String {
    let mut out = String::new();
    for group in order {
        let byte = |at: usize| digest.get(at).map_or(0, |b| u32::from(*b));
        let mut bits = byte(group[0]) << 16 | byte(group[1]) << 8 | byte(group[2]);
        let present = group.iter().filter(|at| **at != NONE).count();
        for _ in 0..=present {
            out.push(ALPHABET[(bits & 63) as usize] as char);
            bits >>= 6;
        }
    }
    out
}

/// Repeats a digest to a length.
fn stretched(digest: &[u8], length: usize) -> Vec<u8> {
    digest.iter().copied().cycle().take(length).collect()
}

fn sha_crypt<D: Digest>(key: &[u8], salt: &[u8], rounds: u32, order: &[[usize; 3]]) -> String {
    let mut other = D::new();
    other.update(key);
    other.update(salt);
    other.update(key);
    let other = other.finalize();

    let mut first = D::new();
    first.update(key);
    first.update(salt);
    first.update(stretched(&other, key.len()));
    let mut length = key.len();
    while length > 0 {
        if length & 1 == 1 {
            first.update(&other);
        } else {
            first.update(key);
        }
        length >>= 1;
    }
    let mut digest = first.finalize().to_vec();

    let mut keys = D::new();
    for _ in 0..key.len() {
        keys.update(key);
    }
    let keys = stretched(&keys.finalize(), key.len());
    let mut salts = D::new();
    for _ in 0..16 + usize::from(digest[0]) {
        salts.update(salt);
    }
    let salts = stretched(&salts.finalize(), salt.len());

    for round in 0..rounds {
        let mut next = D::new();
        if round & 1 == 1 {
            next.update(&keys);
        } else {
            next.update(&digest);
        }
        if round % 3 != 0 {
            next.update(&salts);
        }
        if round % 7 != 0 {
            next.update(&keys);
        }
        if round & 1 == 1 {
            next.update(&digest);
        } else {
            next.update(&keys);
        }
        digest = next.finalize().to_vec();
    }
    encode(&digest, order)
}

fn md5_crypt(key: &[u8], salt: &[u8]) -> String {
    use md5::Md5;
    let other = Md5::new().chain_update(key).chain_update(salt).chain_update(key).finalize();
    let mut first = Md5::new().chain_update(key).chain_update(b"$1$").chain_update(salt);
    first.update(stretched(&other, key.len()));
    let mut length = key.len();
    while length > 0 {
        first.update(if length & 1 == 1 { &[0u8][..] } else { &key[..1] });
        length >>= 1;
    }
    let mut digest = first.finalize().to_vec();
    for round in 0..1000 {
        let mut next = Md5::new();
        next.update(if round & 1 == 1 { key } else { &digest });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(key);
        }
        next.update(if round & 1 == 1 { &digest[..] } else { key });
        digest = next.finalize().to_vec();
    }
    encode(&digest, &[[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5], [NONE, NONE, 11]])
}
