//! Networks and the routers between them: who is on each, and that everybody is on one. They are read before the tests,
//! so that a fault between hosts that have no link is a mistake.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use netsplit_model::{Capability, HostName, Reason, Trouble, excerpt, nearest};
use netsplit_netmodel::nat::NatKind;

use super::Loader;
use crate::fields::{self, Fields};
use crate::grammar::{self, Kind, ROUTER};
use crate::names::{Seen, Whom, list};
use crate::read::steps::StepNeed;
use crate::source::Span;
use crate::toml::Entry;
use crate::{Network, Router};

/// What the addresses of a testbed have room for.
const NETWORKS_MAX: usize = 200;
const ROUTERS_MAX: usize = 254;

impl<'t> Loader<'t> {
    /// Who is on which network, and the routers. What is wrong with one leaves it out.
    pub(super) fn networks(&mut self) -> (Vec<Network>, Vec<Router>) {
        self.not_too_many();
        let tables = std::mem::take(&mut self.tables.networks);
        let networks: Vec<_> =
            tables.iter().filter_map(|(name, entry)| self.network(name.as_ref(), entry)).collect();
        let are_networks_right = networks.len() == tables.len();
        self.tables.networks = tables;
        if are_networks_right && !networks.is_empty() && !self.names.incomplete {
            self.on_no_network(&networks);
        }
        let tables = std::mem::take(&mut self.tables.routers);
        let routers: Vec<_> = tables.iter().filter_map(|entry| self.router(entry)).collect();
        let is_right = are_networks_right && routers.len() == tables.len();
        self.tables.routers = tables;
        if is_right && networks.len() > 1 && !self.names.incomplete {
            self.names.joined = Some(networks.iter().map(|network| members(network, &routers)).collect());
        }
        (networks, routers)
    }

    /// What needs networks of several kinds: only netsplit's own network has them.
    pub(super) fn network_need(&self) -> Option<StepNeed> {
        let first = self.names.networks.first().map(|(_, span)| ("networks", *span));
        let router = || self.names.routers.first().map(|(_, (span, _))| ("routers", *span));
        let (by, span) = first.or_else(router)?;
        Some(StepNeed { capability: Capability::Network, by: by.to_owned(), span })
    }

    fn not_too_many(&mut self) {
        let network = self.names.networks.get_index(NETWORKS_MAX).map(|(_, span)| *span);
        let router = self.names.routers.get_index(ROUTERS_MAX).map(|(_, (span, _))| *span);
        for (span, what, max) in [(network, "networks", NETWORKS_MAX), (router, "routers", ROUTERS_MAX)] {
            if let Some(span) = span {
                let trouble = Trouble::new(Reason::BadValue, format!("more than {max} {what}"));
                self.ledger.mistake(span, trouble);
            }
        }
    }

    fn network(&mut self, name: Option<&HostName>, entry: &'t Entry) -> Option<Network> {
        let Some(text) = entry.node.as_text() else {
            let word = format!("networks.{}", entry.key.name);
            return fields::wrong(&mut self.ledger, &entry.node, &word, Kind::Hosts);
        };
        let (values, folder) = (IndexMap::new(), self.folder.clone());
        let mut reader = self.reader(&values, &folder, Seen::default());
        let select = reader.select_whom(text, Whom::Members)?;
        let hosts = reader.known_hosts(&select)?;
        Some(Network { name: name?.clone(), hosts })
    }

    /// Where there are networks, who is on none reaches nobody.
    fn on_no_network(&mut self, networks: &[Network]) {
        let on: BTreeSet<_> = networks.iter().flat_map(|network| &network.hosts).collect();
        let known: Vec<_> = networks.iter().map(|network| network.name.as_str()).collect();
        for role in &self.tables.roles {
            let alone: Vec<_> = role.hosts.iter().filter(|host| !on.contains(host)).collect();
            let first = alone.first().and_then(|host| self.names.hosts.get(host.as_str()));
            let Some((span, first)) = first else { continue };
            let text = match alone.len() {
                1 => format!("the host `{first}` is on no network"),
                _ => format!("the hosts {} are on no network", excerpt::names(&alone)),
            };
            self.ledger.mistake(*span, Trouble::new(Reason::BadValue, text).hint(list("networks", &known)));
        }
    }

    fn router(&mut self, entry: &'t Entry) -> Option<Router> {
        let Some(table) = entry.node.as_table() else {
            let word = format!("routers.{}", entry.key.name);
            return fields::wrong(&mut self.ledger, &entry.node, &word, Kind::Table(&ROUTER));
        };
        let fields = Fields::open(&mut self.ledger, table, &ROUTER, entry.key.span);
        let inside = self.side(&fields, "inside");
        let outside = self.side(&fields, "outside");
        let kind = self.router_kind(&fields);
        fields.finish();
        let name = self.names.routers.get(&entry.key.name)?.1.clone();
        let ((inside, _), (outside, span)) = (inside?, outside?);
        if inside == outside {
            let text = format!("both sides of the router `{}` are the network `{inside}`", entry.key.name);
            self.ledger.mistake(span, Trouble::new(Reason::BadValue, text).hint("name two networks"));
            return None;
        }
        let network = |name: &str| HostName::new(name).ok();
        Some(Router { name: name?, inside: network(&inside)?, outside: network(&outside)?, kind: kind? })
    }

    /// A network that is there, and where it is named.
    fn side(&mut self, fields: &Fields<'t>, word: &str) -> Option<(String, Span)> {
        let known: Vec<_> = self.names.networks.keys().map(String::as_str).collect();
        let hint = Some(list("networks", &known)).filter(|hint| !hint.is_empty());
        let (key, entry) = fields.must(&mut self.ledger, word, hint)?;
        let text = fields::text(&mut self.ledger, &entry.node, key)?;
        if !known.contains(&text.value.as_str()) && !self.names.incomplete {
            let trouble = Trouble::new(Reason::UnknownName, format!("no network `{}`", text.value));
            let is_host = self.names.is_host(&text.value, &Seen::default());
            let hint = match nearest(&text.value, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if is_host => format!("`networks.NAME = \"{}\"` makes one", text.value),
                None if known.is_empty() => "`networks` names them, each with its hosts".to_owned(),
                None => list("networks", &known),
            };
            self.ledger.mistake(text.inner(), trouble.hint(hint));
            return None;
        }
        Some((text.value.clone(), text.inner()))
    }

    fn router_kind(&mut self, fields: &Fields<'t>) -> Option<NatKind> {
        let Some((key, entry)) = fields.get("kind") else { return Some(NatKind::Router) };
        let text = fields::text(&mut self.ledger, &entry.node, key)?;
        let kind = NatKind::named(&text.value);
        if kind.is_none() {
            let known: Vec<_> = grammar::router_kinds().collect();
            let trouble = Trouble::new(Reason::UnknownName, format!("no kind of router `{}`", text.value));
            let hint = match nearest(&text.value, known.iter().copied().chain(["corporate"])) {
                Some(near) => format!("did you mean `{near}`?"),
                None => list("kinds", &known),
            };
            self.ledger.mistake(text.inner(), trouble.hint(hint));
        }
        kind
    }
}

/// The hosts on a network, and the routers.
fn members(network: &Network, routers: &[Router]) -> BTreeSet<HostName> {
    let at = routers.iter().filter(|router| [&router.inside, &router.outside].contains(&&network.name));
    network.hosts.iter().chain(at.map(|router| &router.name)).cloned().collect()
}
