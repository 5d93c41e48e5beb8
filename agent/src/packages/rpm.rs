//! The rpm database, through `rpm -qa`: its format on disk differs between versions.
//!
//! Owns: one query for everything, name and version rules. Must not: install.

use std::cmp::Ordering;

use super::version::compare_rpm;
use crate::modules::{Fault, Host};
use crate::system::run;

/// One installed package.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Installed {
    pub name: String,
    pub epoch: u64,
    pub version: String,
    pub release: String,
    pub arch: String,
}

impl Installed {
    /// Compares epoch, version and release.
    #[must_use]
    pub fn order(&self, other: &Self) -> Ordering {
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| compare_rpm(&self.version, &other.version))
            .then_with(|| compare_rpm(&self.release, &other.release))
    }

    /// Every way in which users write this package: `name`, `name.arch`, `name-version`, ...
    #[must_use]
    pub fn spellings(&self) -> Vec<String> {
        let Self { name, version, release, arch, epoch } = self;
        let mut all = vec![
            name.clone(),
            format!("{name}.{arch}"),
            format!("{name}-{version}"),
            format!("{name}-{version}.{arch}"),
            format!("{name}-{version}-{release}"),
            format!("{name}-{version}-{release}.{arch}"),
        ];
        for epoch in [format!("{name}-{epoch}:{version}-{release}"), format!("{name}-{epoch}:{version}")] {
            all.push(format!("{epoch}.{arch}"));
            all.push(epoch);
        }
        all
    }
}

/// Reads every installed package.
///
/// # Errors
/// When rpm cannot be run.
pub fn installed(host: &Host<'_>) -> Result<Vec<Installed>, Fault> {
    let format = "%{NAME}\\t%{EPOCHNUM}\\t%{VERSION}\\t%{RELEASE}\\t%{ARCH}\\n";
    let answer =
        run::run(host, &["rpm", "-qa", "--qf", format])?.or_fault("cannot list installed packages")?;
    Ok(parse(&answer.out))
}

fn parse(out: &str) -> Vec<Installed> {
    out.lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let [name, epoch, version, release, arch] = fields.as_slice() else { return None };
            Some(Installed {
                name: (*name).to_owned(),
                epoch: epoch.parse().unwrap_or(0),
                version: (*version).to_owned(),
                release: (*release).to_owned(),
                arch: (*arch).to_owned(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_has_all_its_spellings() {
        let found = parse("docker\t2\t1.13.1\t75.el7\tx86_64\nbad line\n");
        assert_eq!(found.len(), 1);
        let spellings = found[0].spellings();
        for wanted in [
            "docker",
            "docker.x86_64",
            "docker-1.13.1",
            "docker-1.13.1-75.el7",
            "docker-2:1.13.1-75.el7.x86_64",
        ] {
            assert!(spellings.iter().any(|s| s == wanted), "{wanted}");
        }
    }
}
