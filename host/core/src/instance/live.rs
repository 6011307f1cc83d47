//! The instances as they are now. Reading takes no lock: each reader has a whole picture, and the next one may have another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::{Authorization, Binding, CryptoInstance, Instance, ProvisionedInstance};
use crate::ids::InstanceId;

/// What the store holds of instances, read at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// Those that were provisioned, by id.
    pub instances: Vec<ProvisionedInstance>,
    /// Which may use which crypto instance, by source and target.
    pub authorizations: Vec<Authorization>,
}

/// The right to show what is read from now on: see [`Instances::ticket`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// A whole picture.
#[derive(Debug, Default)]
struct Picture {
    configured: BTreeMap<InstanceId, Arc<Instance>>,
    crypto: BTreeMap<InstanceId, Arc<CryptoInstance>>,
    records: BTreeMap<InstanceId, Arc<ProvisionedInstance>>,
    authorizations: BTreeMap<(InstanceId, InstanceId), Arc<Authorization>>,
    /// Both sources together, each resolved to its backend.
    all: BTreeMap<InstanceId, Arc<Instance>>,
}

impl Picture {
    /// Works `all` out of the rest.
    fn resolved(mut self) -> Self {
        let backend_of = |id: &InstanceId| self.crypto.get(id).map(|crypto| crypto.backend.clone()).unwrap_or_default();
        let provisioned = self.records.values().map(|record| {
            let (backend, crypto_instance) = match &record.binding {
                Binding::Backend(name) => (name.clone(), None),
                Binding::Crypto(id) => (backend_of(id), Some(*id)),
            };
            let ProvisionedInstance { id, name, region, account, .. } = &**record;
            let (name, region, account) = (name.clone(), region.clone(), account.clone());
            Arc::new(Instance { id: *id, name, region, account, backend, crypto_instance })
        });
        let mut all: BTreeMap<_, _> = provisioned.map(|instance| (instance.id, instance)).collect();
        all.extend(self.configured.iter().map(|(id, instance)| (*id, Arc::clone(instance))));
        self.all = all;
        self
    }
}

#[derive(Debug, Default)]
struct Shared {
    now: ArcSwap<Picture>,
    tickets: AtomicU64,
    /// The newest ticket whose records are shown. Who changes the picture holds this.
    shown: Mutex<u64>,
}

/// The instances of this gateway. A clone shows the same ones, now and later.
#[derive(Clone, Debug, Default)]
pub struct Instances(Arc<Shared>);

impl Instances {
    /// The instance with this id.
    pub fn get(&self, id: InstanceId) -> Option<Arc<Instance>> {
        self.0.now.load().all.get(&id).cloned()
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = Arc<Instance>> + use<> {
        self.0.now.load().all.values().cloned().collect::<Vec<_>>().into_iter()
    }

    /// Whether an instance is the configuration's, and nobody else's to change.
    pub fn is_configured(&self, id: InstanceId) -> bool {
        self.0.now.load().configured.contains_key(&id)
    }

    /// The record of a provisioned instance, also where the configuration has one of the same id.
    pub fn record(&self, id: InstanceId) -> Option<Arc<ProvisionedInstance>> {
        self.0.now.load().records.get(&id).cloned()
    }

    /// The ids that both sources have.
    pub fn hidden(&self) -> Vec<InstanceId> {
        let now = self.0.now.load();
        now.records.keys().filter(|id| now.configured.contains_key(id)).copied().collect()
    }

    /// The crypto instance with this id.
    pub fn crypto_instance(&self, id: InstanceId) -> Option<Arc<CryptoInstance>> {
        self.0.now.load().crypto.get(&id).cloned()
    }

    /// All crypto instances, by id.
    pub fn crypto_instances(&self) -> Vec<Arc<CryptoInstance>> {
        self.0.now.load().crypto.values().cloned().collect()
    }

    /// What lets `source` use `target`.
    pub fn authorization(&self, source: InstanceId, target: InstanceId) -> Option<Arc<Authorization>> {
        self.0.now.load().authorizations.get(&(source, target)).cloned()
    }

    /// All authorizations, by source and target.
    pub fn authorizations(&self) -> Vec<Arc<Authorization>> {
        self.0.now.load().authorizations.values().cloned().collect()
    }

    /// The backends that instances make keys on.
    pub fn backends(&self) -> BTreeSet<String> {
        let named = self.iter().map(|instance| instance.backend.clone());
        named.filter(|backend| !backend.is_empty()).collect()
    }

    /// Takes what the configuration has now, in the place of what it had.
    pub fn configure(&self, instances: impl IntoIterator<Item = Instance>, crypto: Vec<CryptoInstance>) {
        let _shown = self.0.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.0.now.load();
        let picture = Picture {
            configured: instances.into_iter().map(|instance| (instance.id, Arc::new(instance))).collect(),
            crypto: crypto.into_iter().map(|crypto| (crypto.id, Arc::new(crypto))).collect(),
            records: before.records.clone(),
            authorizations: before.authorizations.clone(),
            all: BTreeMap::new(),
        };
        self.0.now.store(Arc::new(picture.resolved()));
    }

    /// What it would be with another configuration. Nobody else sees that.
    #[must_use]
    pub fn with(&self, instances: impl IntoIterator<Item = Instance>, crypto: Vec<CryptoInstance>) -> Self {
        let now = self.0.now.load();
        let (records, authorizations) = (now.records.clone(), now.authorizations.clone());
        let other = Self::default();
        other.0.now.store(Arc::new(Picture { records, authorizations, ..Picture::default() }));
        other.configure(instances, crypto);
        other
    }

    /// To be taken after a commit and before the store is read for [`Instances::show`]. What was read with a later ticket has
    /// every commit in it that came before an earlier one, so the latest that is shown is right.
    pub fn ticket(&self) -> Ticket {
        Ticket(self.0.tickets.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// Takes what the store has, unless something newer is shown already.
    pub fn show(&self, ticket: Ticket, records: Records) {
        let mut shown = self.0.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if ticket.0 <= *shown {
            return;
        }
        *shown = ticket.0;
        let before = self.0.now.load();
        let Records { instances, authorizations } = records;
        let picture = Picture {
            configured: before.configured.clone(),
            crypto: before.crypto.clone(),
            records: instances.into_iter().map(|record| (record.id, Arc::new(record))).collect(),
            authorizations: authorizations.into_iter().map(|a| ((a.source, a.target), Arc::new(a))).collect(),
            all: BTreeMap::new(),
        };
        self.0.now.store(Arc::new(picture.resolved()));
    }
}

impl FromIterator<Instance> for Instances {
    /// Configured ones.
    fn from_iter<T: IntoIterator<Item = Instance>>(configured: T) -> Self {
        let instances = Self::default();
        instances.configure(configured, Vec::new());
        instances
    }
}
