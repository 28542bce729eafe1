//! Answers for conditional requests. GitHub does not count a "304 Not Modified" against the primary limit.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

/// Largest number of answers, enough for polls of some dozens of repositories with their runs.
const CAPACITY: usize = 512;
/// Largest size of all answers together, in bytes.
const MOST_BYTES: usize = 32 << 20;

/// A page of a list, as it was received.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) etag: Option<String>,
    pub(crate) next: Option<String>,
    pub(crate) body: Bytes,
}

/// Pages by URL. The oldest page is dropped to make room.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    pages: HashMap<String, Arc<Page>>,
    order: VecDeque<String>,
    bytes: usize,
}

impl Cache {
    pub(crate) fn get(&self, url: &str) -> Option<Arc<Page>> {
        self.pages.get(url).cloned()
    }

    pub(crate) fn put(&mut self, url: &str, page: Arc<Page>) {
        self.bytes += page.body.len();
        if let Some(old) = self.pages.insert(url.to_owned(), page) {
            self.bytes -= old.body.len();
            self.order.retain(|known| known != url);
        }
        self.order.push_back(url.to_owned());
        while self.order.len() > CAPACITY || self.bytes > MOST_BYTES {
            let Some(oldest) = self.order.pop_front() else { return };
            self.bytes -= self.pages.remove(&oldest).map_or(0, |page| page.body.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Arc<Page> {
        Arc::new(Page { etag: None, next: None, body: Bytes::new() })
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

    #[test]
    fn a_large_answer_drops_older_ones() {
        let large = || Arc::new(Page { etag: None, next: None, body: Bytes::from(vec![0; MOST_BYTES / 2]) });
        let mut cache = Cache::default();
        ["a", "b", "b", "c"].into_iter().for_each(|url| cache.put(url, large()));
        assert!(cache.get("a").is_none() && cache.get("b").is_some() && cache.get("c").is_some());
        assert_eq!(cache.bytes, MOST_BYTES);
    }
}
