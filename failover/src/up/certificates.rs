//! A development CA and a certificate for every part, kept below the data folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use wire::authority::Authority;
use wire::host::Host;
use wire::identity::{Identity, TrustDomain};
use wire::tls::Files;

use super::layout::Layout;
use crate::cli::exit::Failure;

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Where everyone's certificate lies.
pub struct Certificates {
    folder: PathBuf,
    /// The cluster's id, as every certificate names it.
    pub cluster: String,
}

impl Certificates {
    /// Makes what is missing; what is there is kept.
    pub fn prepare(host: &Host, data_dir: &Path, layout: &Layout) -> Result<Certificates, Failure> {
        let folder = data_dir.join("pki");
        let failed = |error: &dyn std::fmt::Display| {
            Failure::error(format!("certificates in {}: {error}", folder.display()))
        };
        std::fs::create_dir_all(&folder).map_err(|error| failed(&error))?;
        let mut certificates = Certificates { folder: folder.clone(), cluster: String::new() };
        let authority = if folder.join("ca.pem").exists() {
            Authority::load(&folder).map_err(|error| failed(&error))?
        } else {
            let name = format!("regent-{:08x}", host.random.next_u64() as u32);
            let domain = TrustDomain::new(name).map_err(|error| failed(&error))?;
            let authority = Authority::create(host, domain, YEAR * 10).map_err(|error| failed(&error))?;
            authority.save(&folder).map_err(|error| failed(&error))?;
            authority
        };
        certificates.cluster = authority.trust_domain().to_string();
        let mut identities = vec![(certificates.operator(), Identity::Operator { name: "local".into() })];
        for region in &layout.regions {
            for controller in &region.controllers {
                let identity =
                    Identity::Controller { region: region.name.clone(), member: controller.member };
                identities.push((certificates.controller(controller.member), identity));
            }
            for agent in &region.agents {
                identities.push((certificates.agent(&agent.id), Identity::Agent(agent.id.clone())));
            }
        }
        for (files, identity) in identities {
            if files.certificate.exists() && files.key.exists() {
                continue;
            }
            let pair = authority.issue(host, &identity, &[], YEAR).map_err(|error| failed(&error))?;
            authority.write(&pair, &files).map_err(|error| failed(&error))?;
        }
        Ok(certificates)
    }

    pub fn operator(&self) -> Files {
        self.files("operator")
    }

    pub fn controller(&self, member: u64) -> Files {
        self.files(&format!("controller-{member}"))
    }

    pub fn agent(&self, agent: &decision::name::AgentId) -> Files {
        self.files(&format!("agent-{}-{}", agent.region, agent.ordinal))
    }

    fn files(&self, name: &str) -> Files {
        Files {
            certificate: self.folder.join(format!("{name}.pem")),
            key: self.folder.join(format!("{name}-key.pem")),
            ca: self.folder.join("ca.pem"),
        }
    }
}
