//! Described instances kept between commands.
//!
//! Owns: one file a query in the user's cache folder. Must not: keep credentials; they only enter the file's name, hashed.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use super::query::Ec2Query;

/// Grows when documents change, so that files of another version are not taken.
const VERSION: u64 = 1;

/// Where and how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rules {
    pub folder: PathBuf,
    /// Seconds; 0: for ever.
    pub lifetime: u64,
    pub prefix: String,
}

/// The file of one query.
#[derive(Debug)]
pub(super) struct Cache {
    path: PathBuf,
    lifetime: u64,
}

impl Cache {
    /// The file that belongs to a query under the account that the environment says.
    pub(super) fn of(rules: &Rules, query: &Ec2Query) -> Self {
        let secret = |s: &Option<crate::vars::secrets::Secret>| s.as_ref().map(|s| s.reveal().to_owned());
        let access = &query.access;
        // Whoever changes the account must not see the hosts of the one before.
        let environment = [
            "AWS_PROFILE",
            "AWS_DEFAULT_PROFILE",
            "AWS_ACCESS_KEY_ID",
            "AWS_REGION",
            "AWS_DEFAULT_REGION",
            "AWS_ENDPOINT_URL",
            "AWS_ENDPOINT_URL_EC2",
            "AWS_CONFIG_FILE",
            "AWS_SHARED_CREDENTIALS_FILE",
            "AWS_ROLE_ARN",
        ]
        .map(|name| std::env::var(name).unwrap_or_default());
        let asked = json!([
            VERSION,
            access.region,
            access.profile,
            access.endpoint_url,
            secret(&access.access_key),
            access.assume_role,
            query.regions,
            query.include,
            query.exclude,
            query.strict_permissions,
            environment,
        ]);
        let digest = Sha256::digest(asked.to_string());
        let name: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        let path = rules.folder.join(format!("{}aws_ec2_{name}.json", rules.prefix));
        Self { path, lifetime: rules.lifetime }
    }

    /// What was kept and still counts. A file that can't be read is as good as none.
    pub(super) fn read(&self) -> Option<Vec<Json>> {
        let text = fs_err::read_to_string(&self.path).ok()?;
        let mut kept: Json = serde_json::from_str(&text).ok()?;
        // Written in the future: the clock was wrong then or is wrong now.
        let age = now().checked_sub(kept.get("written")?.as_u64()?)?;
        if self.lifetime != 0 && age >= self.lifetime {
            return None;
        }
        match kept.get_mut("instances")?.take() {
            Json::Array(instances) => Some(instances),
            _ => None,
        }
    }

    /// Keeps instances, whole or not at all.
    ///
    /// # Errors
    /// The folder can't be made or written.
    pub(super) fn write(&self, instances: &[Json]) -> std::io::Result<()> {
        let folder = self.path.parent().unwrap_or(std::path::Path::new("."));
        fs_err::create_dir_all(folder)?;
        // Names and addresses of an account are nobody else's business: the file is the user's alone.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        let kept = json!({"written": now(), "instances": instances});
        file.write_all(kept.to_string().as_bytes())?;
        file.persist(&self.path).map_err(|e| e.error)?;
        Ok(())
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
