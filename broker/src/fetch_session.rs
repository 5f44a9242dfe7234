//! Incremental fetch sessions (KIP-227): what a consumer asked for before and need not repeat.
//!
//! A session holds the partitions of one consumer in the order they will be served, with what was
//! last sent of each, so that a response lists only what changed. Sessions are a cache: their
//! number and the partitions in them are bounded, and a client that gets none, or whose session
//! was evicted, sends full requests (B-31, B-32).

use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A session unused for so long may make room for another.
const EVICTABLE_AFTER: Duration = Duration::from_secs(120);
/// Most partitions of all sessions together; a consumer beyond it gets no session.
const PARTITIONS_MAX: usize = 500_000;
/// The epoch that opens a session.
const INITIAL_EPOCH: i32 = 0;
/// The epoch of a request without a session.
const FINAL_EPOCH: i32 = -1;

/// How a request names a topic: before Fetch 13 by name, from then on by id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TopicRef {
    Name(Arc<str>),
    Id([u8; 16]),
}

/// One partition that a consumer wants to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) topic: TopicRef,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) max_bytes: i32,
    pub(crate) leader_epoch: i32,
    pub(crate) last_fetched_epoch: i32,
}

impl Wanted {
    /// Most bytes of records that the answer should have.
    pub(crate) fn bytes_max(&self) -> usize {
        usize::try_from(self.max_bytes).unwrap_or(0)
    }
}

impl Wanted {
    fn key(&self) -> Key {
        (self.topic.clone(), self.partition)
    }
}

type Key = (TopicRef, i32);

/// The part of an answer that decides whether it is worth sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) high_watermark: i64,
    pub(crate) log_start_offset: i64,
    pub(crate) has_data: bool,
    pub(crate) has_error: bool,
}

/// Why a request with a session is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionError {
    /// No such session, or no longer (70).
    NotFound,
    /// Not the epoch that comes next (71).
    WrongEpoch,
    /// The session names topics one way and the request the other (106).
    MixedTopicIds,
}

/// What a request is: a fetch of everything it lists, or the continuation of a session.
#[derive(Debug)]
pub(crate) enum FetchContext {
    /// No session; the answer lists everything.
    Sessionless,
    /// The answer lists everything and offers a session.
    Opening,
    /// The answer lists what changed.
    Continuing(i32, Arc<Mutex<Session>>),
}

/// The partitions of one consumer.
#[derive(Debug)]
pub(crate) struct Session {
    next_epoch: i32,
    last_used: Instant,
    by_id: bool,
    partitions: Vec<Cached>,
}

#[derive(Debug)]
struct Cached {
    wanted: Wanted,
    high_watermark: i64,
    log_start_offset: i64,
}

/// The cache of sessions.
#[derive(Debug)]
pub(crate) struct FetchSessions {
    slots: usize,
    ids: RandomState,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    sessions: HashMap<i32, Arc<Mutex<Session>>>,
    partitions: usize,
    opened: u64,
}

impl FetchSessions {
    /// A cache of at most `slots` sessions.
    pub(crate) fn new(slots: usize) -> Self {
        Self { slots, ids: RandomState::new(), inner: Mutex::default() }
    }

    /// Decides what a request is, and what it wants to read, in the order to serve it.
    pub(crate) fn begin(
        &self,
        session_id: i32,
        epoch: i32,
        by_id: bool,
        wanted: Vec<Wanted>,
        forgotten: &[(TopicRef, i32)],
    ) -> Result<(FetchContext, Vec<Wanted>), SessionError> {
        if epoch == INITIAL_EPOCH || epoch == FINAL_EPOCH {
            self.inner.lock().remove(session_id);
            let opens = epoch == INITIAL_EPOCH;
            let context = if opens { FetchContext::Opening } else { FetchContext::Sessionless };
            return Ok((context, wanted));
        }
        let session = self.inner.lock().sessions.get(&session_id).cloned();
        let session = session.ok_or(SessionError::NotFound)?;
        let (all, grown) = session.lock().advance(epoch, by_id, wanted, forgotten)?;
        let mut inner = self.inner.lock();
        inner.partitions = inner.partitions.saturating_add_signed(grown);
        drop(inner);
        Ok((FetchContext::Continuing(session_id, session), all))
    }

    /// Opens a session over what was just answered; its id, or 0 if there is no room.
    pub(crate) fn open(&self, by_id: bool, answered: Vec<(Wanted, Sent)>) -> i32 {
        let mut inner = self.inner.lock();
        if answered.is_empty() || !inner.make_room(self.slots, answered.len()) {
            return 0;
        }
        let id = inner.free_id(&self.ids);
        inner.partitions += answered.len();
        let partitions = answered.into_iter().map(|(wanted, sent)| Cached::new(wanted, sent));
        let session = Session {
            next_epoch: 1,
            last_used: Instant::now(),
            by_id,
            partitions: partitions.collect(),
        };
        inner.sessions.insert(id, Arc::new(Mutex::new(session)));
        id
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.inner.lock().sessions.len()
    }
}

impl Inner {
    fn remove(&mut self, id: i32) {
        if let Some(session) = self.sessions.remove(&id) {
            self.partitions = self.partitions.saturating_sub(session.lock().partitions.len());
        }
    }

    /// Whether there is room for one more session, after evicting an old one if need be.
    fn make_room(&mut self, slots: usize, partitions: usize) -> bool {
        let full = |inner: &Self| {
            inner.sessions.len() >= slots || inner.partitions + partitions > PARTITIONS_MAX
        };
        if full(self) {
            let oldest = self.sessions.iter().map(|(id, s)| (s.lock().last_used, *id)).min();
            match oldest {
                Some((used, id)) if used.elapsed() >= EVICTABLE_AFTER => self.remove(id),
                _ => return false,
            }
        }
        !full(self)
    }

    /// An id that no session has and that a client cannot guess from its own.
    fn free_id(&mut self, ids: &RandomState) -> i32 {
        loop {
            self.opened += 1;
            let [a, b, c, d, ..] = ids.hash_one(self.opened).to_be_bytes();
            let id = i32::from_be_bytes([a & 0x7f, b, c, d]);
            if id != 0 && !self.sessions.contains_key(&id) {
                return id;
            }
        }
    }
}

impl Session {
    /// Takes in an incremental request; everything wanted now, and how many partitions it grew by.
    fn advance(
        &mut self,
        epoch: i32,
        by_id: bool,
        wanted: Vec<Wanted>,
        forgotten: &[(TopicRef, i32)],
    ) -> Result<(Vec<Wanted>, isize), SessionError> {
        if epoch != self.next_epoch {
            return Err(SessionError::WrongEpoch);
        }
        let names_topics = !wanted.is_empty() || !forgotten.is_empty();
        if by_id != self.by_id && (names_topics || !self.partitions.is_empty()) {
            return Err(SessionError::MixedTopicIds);
        }
        self.next_epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
        self.last_used = Instant::now();
        let before = self.partitions.len();
        self.forget(forgotten);
        self.update(wanted);
        let grown = self.partitions.len().cast_signed() - before.cast_signed();
        Ok((self.partitions.iter().map(|cached| cached.wanted.clone()).collect(), grown))
    }

    fn forget(&mut self, forgotten: &[(TopicRef, i32)]) {
        if !forgotten.is_empty() {
            let gone: HashSet<&(TopicRef, i32)> = forgotten.iter().collect();
            self.partitions.retain(|cached| !gone.contains(&cached.wanted.key()));
        }
    }

    fn update(&mut self, wanted: Vec<Wanted>) {
        if wanted.is_empty() {
            return;
        }
        let keys = self.partitions.iter().enumerate().map(|(place, c)| (c.wanted.key(), place));
        let mut places: HashMap<Key, usize> = keys.collect();
        for wanted in wanted {
            let place = places.get(&wanted.key()).copied();
            match place.and_then(|place| self.partitions.get_mut(place)) {
                Some(cached) => cached.wanted = wanted,
                None => {
                    places.insert(wanted.key(), self.partitions.len());
                    self.partitions.push(Cached::unsent(wanted));
                }
            }
        }
    }

    /// Records what is about to be sent and says which answers to send. Partitions with data move
    /// to the end of the order, so that a busy one cannot starve the others (B-25).
    pub(crate) fn conclude(&mut self, answers: &HashMap<Key, Sent>) -> HashSet<Key> {
        let mut listed = HashSet::new();
        let (mut quiet, mut busy) = (Vec::new(), Vec::new());
        for mut cached in self.partitions.drain(..) {
            let key = cached.wanted.key();
            let answer = answers.get(&key);
            if answer.is_some_and(|sent| cached.changes_by(*sent)) {
                listed.insert(key);
            }
            let has_data = answer.is_some_and(|sent| sent.has_data);
            (if has_data { &mut busy } else { &mut quiet }).push(cached);
        }
        quiet.append(&mut busy);
        self.partitions = quiet;
        listed
    }
}

impl Cached {
    fn new(wanted: Wanted, sent: Sent) -> Self {
        let mut cached = Self::unsent(wanted);
        cached.changes_by(sent);
        cached
    }

    /// A partition of which nothing was sent: any answer is news.
    fn unsent(wanted: Wanted) -> Self {
        Self { wanted, high_watermark: -1, log_start_offset: -1 }
    }

    /// Whether an answer is news, remembering it as sent.
    fn changes_by(&mut self, sent: Sent) -> bool {
        let same = self.high_watermark == sent.high_watermark
            && self.log_start_offset == sent.log_start_offset;
        // After an error the next answer is news even if it is the same as before the error.
        self.high_watermark = if sent.has_error { -1 } else { sent.high_watermark };
        self.log_start_offset = sent.log_start_offset;
        sent.has_data || sent.has_error || !same
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(name: &str, offset: i64) -> Wanted {
        Wanted {
            topic: TopicRef::Name(name.into()),
            partition: 0,
            offset,
            max_bytes: 1,
            leader_epoch: -1,
            last_fetched_epoch: -1,
        }
    }

    fn sent(high_watermark: i64, has_data: bool) -> Sent {
        Sent { high_watermark, log_start_offset: 0, has_data, has_error: false }
    }

    fn open(sessions: &FetchSessions, names: &[&str]) -> i32 {
        sessions.open(false, names.iter().map(|n| (wanted(n, 0), sent(5, false))).collect())
    }

    // S-82, B-31.
    #[tokio::test]
    async fn an_incremental_request_names_only_what_changes() {
        let sessions = FetchSessions::new(10);
        let id = open(&sessions, &["a", "b"]);
        assert!(id > 0);
        let change = vec![wanted("b", 7), wanted("c", 0)];
        let gone = [(TopicRef::Name("a".into()), 0)];
        let (_, all) = sessions.begin(id, 1, false, change, &gone).unwrap();
        assert_eq!(all, [wanted("b", 7), wanted("c", 0)]);
        let (_, all) = sessions.begin(id, 2, false, Vec::new(), &[]).unwrap();
        assert_eq!(all.len(), 2);
    }

    // S-82.
    #[tokio::test]
    async fn unknown_sessions_wrong_epochs_and_mixed_names_are_told_apart() {
        let sessions = FetchSessions::new(10);
        let id = open(&sessions, &["a"]);
        let begin = |id, epoch, by_id| {
            sessions.begin(id, epoch, by_id, Vec::new(), &[]).map(|_| ()).unwrap_err()
        };
        assert_eq!(begin(id ^ 1, 1, false), SessionError::NotFound);
        assert_eq!(begin(id, 2, false), SessionError::WrongEpoch);
        assert_eq!(begin(id, 1, true), SessionError::MixedTopicIds);
        sessions.begin(id, FINAL_EPOCH, false, Vec::new(), &[]).unwrap();
        assert_eq!(begin(id, 1, false), SessionError::NotFound);
    }

    #[tokio::test]
    async fn the_epoch_wraps_to_one() {
        let sessions = FetchSessions::new(1);
        let id = open(&sessions, &["a"]);
        let (context, _) = sessions.begin(id, 1, false, Vec::new(), &[]).unwrap();
        let FetchContext::Continuing(_, session) = context else { panic!("a session goes on") };
        session.lock().next_epoch = i32::MAX;
        sessions.begin(id, i32::MAX, false, Vec::new(), &[]).unwrap();
        assert!(sessions.begin(id, 1, false, Vec::new(), &[]).is_ok());
    }

    #[tokio::test]
    async fn an_answer_lists_news_and_partitions_with_data_go_to_the_end() {
        let sessions = FetchSessions::new(1);
        let id = open(&sessions, &["a", "b"]);
        let (context, _) = sessions.begin(id, 1, false, Vec::new(), &[]).unwrap();
        let FetchContext::Continuing(_, session) = context else { panic!("a session goes on") };
        let key = |name: &str| (TopicRef::Name(name.into()), 0);
        let answers = HashMap::from([(key("a"), sent(6, true)), (key("b"), sent(5, false))]);
        let listed = session.lock().conclude(&answers);
        assert_eq!(listed, HashSet::from([key("a")]));
        let (_, order) = sessions.begin(id, 2, false, Vec::new(), &[]).unwrap();
        assert_eq!(order[1].topic, TopicRef::Name("a".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_cache_refuses_until_a_session_is_old() {
        let sessions = FetchSessions::new(1);
        assert!(open(&sessions, &["a"]) > 0);
        assert_eq!(open(&sessions, &["b"]), 0);
        tokio::time::advance(EVICTABLE_AFTER).await;
        assert!(open(&sessions, &["c"]) > 0);
        assert_eq!(sessions.len(), 1);
    }
}
