//! A bounded map that forgets what was used longest ago.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

pub(crate) struct Lru<K, V> {
    bound: usize,
    tick: u64,
    map: HashMap<K, (u64, V)>,
    order: BTreeMap<u64, K>,
}

impl<K: Eq + Hash + Clone, V> Lru<K, V> {
    pub(crate) fn new(bound: usize) -> Self {
        Self { bound, tick: 0, map: HashMap::new(), order: BTreeMap::new() }
    }

    pub(crate) fn get(&mut self, key: &K) -> Option<&V> {
        let (tick, value) = self.map.get_mut(key)?;
        self.tick += 1;
        self.order.remove(tick);
        self.order.insert(self.tick, key.clone());
        *tick = self.tick;
        Some(value)
    }

    /// Puts a value and gives back what it drove out: the key's old value or the one used longest ago.
    pub(crate) fn put(&mut self, key: K, value: V) -> Option<V> {
        self.tick += 1;
        self.order.insert(self.tick, key.clone());
        if let Some((tick, old)) = self.map.insert(key, (self.tick, value)) {
            self.order.remove(&tick);
            return Some(old);
        }
        if self.map.len() <= self.bound {
            return None;
        }
        let (_, oldest) = self.order.pop_first()?;
        self.map.remove(&oldest).map(|(_, value)| value)
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let (tick, value) = self.map.remove(key)?;
        self.order.remove(&tick);
        Some(value)
    }

    pub(crate) fn clear(&mut self) {
        self.map.clear();
        self.order.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let mut lru = Lru::new(2);
        assert_eq!(lru.put("a", 1), None);
        assert_eq!(lru.put("b", 2), None);
        assert_eq!(lru.get(&"a"), Some(&1));
        assert_eq!(lru.put("c", 3), Some(2));
        assert_eq!(lru.put("a", 4), Some(1));
        assert_eq!(lru.remove(&"c"), Some(3));
        assert_eq!((lru.len(), lru.order.len()), (1, 1));
    }
}
