//! Checksums of files and bytes.
//!
//! Owns: the algorithms by Ansible's names. Must not: hold a whole file in memory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use md5::Md5;
use sha1::Sha1;
use sha2::digest::DynDigest;
use sha2::{Sha224, Sha256, Sha384, Sha512};

/// The algorithm of this name, if it's known.
#[must_use]
pub fn algorithm(name: &str) -> Option<Box<dyn DynDigest>> {
    Some(match name {
        "md5" => Box::new(Md5::default()),
        "sha1" => Box::new(Sha1::default()),
        "sha224" => Box::new(Sha224::default()),
        "sha256" => Box::new(Sha256::default()),
        "sha384" => Box::new(Sha384::default()),
        "sha512" => Box::new(Sha512::default()),
        _ => return None,
    })
}

/// The checksum of all that can be read.
///
/// # Errors
/// When reading fails.
pub fn of_reader(mut digest: Box<dyn DynDigest>, mut from: impl Read) -> io::Result<String> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(hex(&digest.finalize())),
            Ok(n) => digest.update(&buffer[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// The checksum of a file by an algorithm's name; `sha1` is what Ansible means by "checksum".
///
/// # Errors
/// When the file can't be read, or the algorithm isn't known.
pub fn of_file(name: &str, path: &Path) -> io::Result<String> {
    let digest = algorithm(name).ok_or_else(|| {
        io::Error::new(io::ErrorKind::Unsupported, format!("unknown checksum algorithm `{name}`"))
    })?;
    of_reader(digest, File::open(path)?)
}

/// SHA-1 of bytes.
#[must_use]
pub fn sha1(bytes: &[u8]) -> String {
    use sha1::Digest;
    hex(&Sha1::digest(bytes))
}

/// MD5 of bytes.
#[must_use]
pub fn md5(bytes: &[u8]) -> String {
    use md5::Digest;
    hex(&Md5::digest(bytes))
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let digit = |four: u8| char::from(b"0123456789abcdef"[usize::from(four & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_sums() {
        assert_eq!(sha1(b"hello\n"), "f572d396fae9206628714fb2ce00f72e94f2258f");
        assert_eq!(md5(b""), "d41d8cd98f00b204e9800998ecf8427e");
        let sum = of_reader(algorithm("sha256").expect("known"), &b""[..]).expect("reads");
        assert!(sum.starts_with("e3b0c44298fc1c149afbf4c8996fb924"));
        assert!(algorithm("crc").is_none());
    }
}
