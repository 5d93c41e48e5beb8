//! File modes, octal and symbolic.
//!
//! Owns: what a mode text means for a file that has a certain mode. Must not: touch files.

/// The permission bits of `st_mode`.
pub const BITS: u32 = 0o7777;

/// The mode that `text` (as coerced: octal or symbolic) makes of `current`.
///
/// Clauses without a `who` act on all, without regard to the umask, as Ansible has it. `X` gives execution to folders
/// and to files that someone may execute already. `None` when the text is no mode.
#[must_use]
pub fn apply(text: &str, current: u32, is_dir: bool) -> Option<u32> {
    if let Ok(bits) = u32::from_str_radix(text, 8) {
        return (bits <= BITS).then_some(bits);
    }
    let original = current & BITS;
    text.split(',').try_fold(original, |mode, clause| clause_applied(clause, mode, original, is_dir))
}

fn clause_applied(clause: &str, mut mode: u32, original: u32, is_dir: bool) -> Option<u32> {
    let who_ends = clause.find(|c| !"ugoa".contains(c))?;
    let who: Vec<char> = match &clause[..who_ends] {
        "" => vec!['u', 'g', 'o'],
        who => who.chars().flat_map(|c| if c == 'a' { vec!['u', 'g', 'o'] } else { vec![c] }).collect(),
    };
    let mut rest = &clause[who_ends..];
    while let Some(op) = rest.chars().next() {
        if !"+-=".contains(op) {
            return None;
        }
        rest = &rest[1..];
        let perms = &rest[..rest.find(['+', '-', '=']).unwrap_or(rest.len())];
        rest = &rest[perms.len()..];
        for user in &who {
            let shift = match user {
                'u' => 6,
                'g' => 3,
                _ => 0,
            };
            let mut bits = 0;
            for perm in perms.chars() {
                bits |= match perm {
                    'r' => 4 << shift,
                    'w' => 2 << shift,
                    'x' => 1 << shift,
                    'X' if is_dir || original & 0o111 != 0 => 1 << shift,
                    'X' => 0,
                    's' => match user {
                        'u' => 0o4000,
                        'g' => 0o2000,
                        _ => 0,
                    },
                    't' => 0o1000,
                    'u' => (original >> 6 & 7) << shift,
                    'g' => (original >> 3 & 7) << shift,
                    'o' => (original & 7) << shift,
                    _ => return None,
                };
            }
            mode = match op {
                '+' => mode | bits,
                '-' => mode & !bits,
                _ => {
                    let special = match user {
                        'u' => 0o4000,
                        'g' => 0o2000,
                        _ => 0o1000,
                    };
                    mode & !(7 << shift) & !special | bits
                }
            };
        }
    }
    Some(mode)
}

/// Four octal digits, as Ansible shows modes.
#[must_use]
pub fn octal(mode: u32) -> String {
    format!("{:04o}", mode & BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbolic_modes_act_on_what_is_there() {
        for (text, current, is_dir, wanted) in [
            ("0640", 0o777, false, 0o640),
            ("u=rw,g=r,o=r", 0o777, false, 0o644),
            ("+x", 0o644, false, 0o755),
            ("a+rX", 0o600, false, 0o644),
            ("a+rX", 0o700, false, 0o755),
            ("a+rX", 0o600, true, 0o755),
            ("u=rwX,g=rX,o=", 0o644, true, 0o750),
            ("g-w,o-rwx", 0o666, false, 0o640),
            ("u+s,+t", 0o755, false, 0o5755),
            ("g=u", 0o640, false, 0o660),
            ("u=rwx-x", 0o000, false, 0o600),
        ] {
            assert_eq!(apply(text, current, is_dir).map(octal), Some(octal(wanted)), "{text}");
        }
        assert_eq!(apply("preserve", 0, false), None);
    }
}
