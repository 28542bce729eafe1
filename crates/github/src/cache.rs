//! Answers kept for conditional requests: GitHub does not count a "304 Not Modified" against the primary limit.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Answers kept at most; a poll of some dozens of repositories with their runs fits.
const CAPACITY: usize = 512;

/// A page of an answer, as received.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) etag: Option<String>,
    pub(crate) next: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// Pages by URL; the one stored longest ago makes room.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    pages: HashMap<String, Arc<Page>>,
    order: VecDeque<String>,
}

impl Cache {
    pub(crate) fn get(&self, url: &str) -> Option<Arc<Page>> {
        self.pages.get(url).cloned()
    }

    pub(crate) fn put(&mut self, url: &str, page: Arc<Page>) {
        if self.pages.insert(url.to_owned(), page).is_some() {
            self.order.retain(|known| known != url);
        }
        self.order.push_back(url.to_owned());
        if self.order.len() <= CAPACITY {
            return;
        }
        if let Some(oldest) = self.order.pop_front() {
            self.pages.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Arc<Page> {
        Arc::new(Page { etag: None, next: None, body: Vec::new() })
    }

    #[test]
    fn the_cache_stays_bounded_and_drops_the_oldest() {
        let mut cache = Cache::default();
        (0..CAPACITY).for_each(|n| cache.put(&n.to_string(), page()));
        cache.put("0", page());
        cache.put("new", page());
        assert!(cache.get("0").is_some() && cache.get("new").is_some());
        assert!(cache.get("1").is_none());
        assert_eq!(cache.pages.len(), CAPACITY);
    }
}
