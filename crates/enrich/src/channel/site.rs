//! Sites by their names: campaign sources, referrer hosts, packages of apps and stores.
use std::borrow::Cow;

use hashbrown::HashMap;
use serde::Deserialize;

use super::error::ChannelError;

/// One site, app or store.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Site {
    pub(super) name: String,
    pub(super) class: String,
    #[serde(default)]
    pub(super) aliases: Vec<String>,
    #[serde(default)]
    pub(super) hosts: Vec<String>,
    #[serde(default)]
    pub(super) packages: Vec<String>,
}

/// All sites, indexed by every name. The names are in lower case.
#[derive(Debug)]
pub(super) struct Sites {
    sites: Vec<Site>,
    by_name: HashMap<String, usize>,
    by_host: HashMap<String, usize>,
    /// Hosts written as `google.*`, without the `.*`.
    by_any_country: HashMap<String, usize>,
    by_package: HashMap<String, usize>,
}

impl Sites {
    /// Indexes the sites.
    ///
    /// # Errors
    /// A site has neither hosts nor packages, or a name is malformed or belongs to two sites.
    pub(super) fn new(sites: Vec<Site>) -> Result<Self, ChannelError> {
        let (mut by_name, mut by_host, mut by_package) = (HashMap::new(), HashMap::new(), HashMap::new());
        let mut by_any_country: HashMap<String, usize> = HashMap::new();
        for (index, site) in sites.iter().enumerate() {
            if site.hosts.is_empty() && site.packages.is_empty() {
                return Err(site.wrong("it has neither hosts nor packages: list those it is known by".into()));
            }
            let names = site.aliases.iter().chain([&site.name]);
            index_names(&sites, index, &mut by_name, "name", names)?;
            index_names(&sites, index, &mut by_host, "host", &site.hosts)?;
            index_names(&sites, index, &mut by_package, "package", &site.packages)?;
        }
        by_host.retain(|host: &String, index: &mut usize| match host.strip_suffix(".*") {
            Some(name) => {
                by_any_country.insert(name.to_owned(), *index);
                false
            }
            None => true,
        });
        Ok(Self { sites, by_name, by_host, by_any_country, by_package })
    }

    /// Number of hosts and packages.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_host.len() + self.by_any_country.len() + self.by_package.len()
    }

    /// The site of a referrer's host, by the host itself or a parent domain, or by its name under any country's domain. The
    /// host of an app's referrer is a package.
    pub(super) fn of_host(&self, host: &str) -> Option<&Site> {
        let mut rest = host;
        loop {
            if let Some(site) = self.get(&self.by_host, rest) {
                return Some(site);
            }
            if let Some(site) = name_under_country(rest).and_then(|name| self.get(&self.by_any_country, name))
            {
                return Some(site);
            }
            match rest.split_once('.') {
                Some((_, parent)) => rest = parent,
                None => return self.get(&self.by_package, host),
            }
        }
    }

    /// The site of a campaign source, by name or host.
    pub(super) fn of_source(&self, source: &str) -> Option<&Site> {
        if source.is_empty() {
            return None;
        }
        let source = lower(source);
        match self.get(&self.by_name, &source) {
            None if source.contains('.') => self.of_host(&source),
            site => site,
        }
    }

    /// The store of an `install_source`, by package or name.
    pub(super) fn of_install_source(&self, source: &str) -> Option<&Site> {
        if source.is_empty() {
            return None;
        }
        let source = lower(source);
        self.get(&self.by_package, &source).or_else(|| self.get(&self.by_name, &source))
    }

    fn get(&self, names: &HashMap<String, usize>, name: &str) -> Option<&Site> {
        self.sites.get(*names.get(name)?)
    }
}

impl Site {
    fn wrong(&self, problem: String) -> ChannelError {
        ChannelError::Site { site: self.name.clone(), problem }
    }
}

fn index_names<'s>(
    sites: &'s [Site],
    index: usize,
    map: &mut HashMap<String, usize>,
    what: &str,
    names: impl IntoIterator<Item = &'s String>,
) -> Result<(), ChannelError> {
    let site = &sites[index];
    for name in names {
        let written = name.strip_suffix(".*").map_or(name.as_str(), |_| &name[..name.len() - 1]);
        let bad_host = what == "host" && (written.contains(['/', ':', '*', ' ']) || !written.contains('.'));
        if name.is_empty() || bad_host {
            let example = "write it as in example.com, or example.* for the domains of all countries; subdomains are included";
            return Err(site.wrong(format!("{name:?} is not a {what}: {example}")));
        }
        if let Some(other) = map.insert(name.to_lowercase(), index) {
            let owner = &sites[other].name;
            return Err(site.wrong(format!("the {what} {name:?} already belongs to site {owner:?}")));
        }
    }
    Ok(())
}

/// The part of a host before `.com` or the domain of a country, such as `.de`, `.com.hk` or `.co.jp`.
fn name_under_country(host: &str) -> Option<&str> {
    let is_country = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_lowercase());
    let (name, last) = host.rsplit_once('.')?;
    if last == "com" {
        return Some(name);
    }
    if !is_country(last) {
        return None;
    }
    match name.rsplit_once('.') {
        Some((before, "com" | "co" | "net" | "org")) => Some(before),
        _ => Some(name),
    }
}

pub(super) fn lower(text: &str) -> Cow<'_, str> {
    match text.chars().any(char::is_uppercase) {
        true => text.to_lowercase().into(),
        false => text.into(),
    }
}
