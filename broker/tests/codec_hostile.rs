//! The wire codec against bytes that mean harm.
//!
//! Goal: whatever arrives, reading it ends in a message or a typed error, and takes memory in
//! proportion to what arrived, never to what was announced. Method: hand-made attacks, every
//! truncation of every known good message, and seeded random damage, all under an allocator that
//! counts what the reading thread asks for. A failure names the bytes; the seed is fixed, so running
//! the test again replays it.

#![expect(unsafe_code, reason = "counting allocations takes an allocator")]
#![expect(clippy::unwrap_used, reason = "a test that cannot read its own data has failed")]

use bytes::Bytes;
use oncelog_broker::protocol::{
    APIS, ApiInfo, DECODE_MEMORY_BASE, DECODE_MEMORY_FACTOR, DecodeError, FetchRequest,
    MetadataRequest, Reader, Request, RequestHeader, Response, Str, Writer, api_info, fetch,
    metadata,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is left to the system's allocator; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.with(|total| total.set(total.get() + layout.size()));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ALLOCATED.with(|total| total.set(total.get() + new_size));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `read` and says how many bytes it asked for altogether, those it gave back included.
fn counted<T>(read: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATED.get();
    let value = read();
    (value, ALLOCATED.get() - before)
}

/// What small and dishonest messages must stay within.
const fn memory_max(len: usize) -> usize {
    2 * len + 64 * 1024
}

#[derive(Clone, Debug, PartialEq)]
enum Message {
    Request(Request),
    Response(Response),
}

#[derive(Clone, Copy, Debug)]
struct Kind {
    api: &'static ApiInfo,
    version: i16,
    is_request: bool,
}

impl Kind {
    fn read(self, bytes: Bytes) -> Result<Message, DecodeError> {
        let mut reader = Reader::new(bytes);
        if self.is_request {
            let (api_key, api_version) = (self.api.key, self.version);
            let header = RequestHeader { api_key, api_version, ..Default::default() };
            Request::decode(&header, &mut reader).map(Message::Request)
        } else {
            Response::decode(self.api.key, self.version, &mut reader).map(Message::Response)
        }
    }

    fn write(self, message: &Message) -> Bytes {
        let mut writer = Writer::new();
        match message {
            Message::Request(request) => request.encode(&mut writer, self.version),
            Message::Response(response) => response.encode(&mut writer, self.version),
        }
        writer.into_buffers().unwrap().concat().into()
    }

    /// Reads within the limit of memory; what is a message must survive being written and read again.
    fn attack(self, bytes: &[u8]) -> Result<Message, DecodeError> {
        let bytes = Bytes::copy_from_slice(bytes);
        let (result, allocated) = counted(|| self.read(bytes.clone()));
        assert!(allocated <= memory_max(bytes.len()), "{self:?} took {allocated} for {bytes:?}");
        if let Ok(message) = &result {
            assert_eq!(self.read(self.write(message)).as_ref(), Ok(message), "{self:?} {bytes:?}");
        }
        result
    }
}

fn kinds() -> impl Iterator<Item = Kind> {
    APIS.iter().flat_map(|api| {
        (api.min..=api.max).flat_map(move |version| {
            [true, false].map(|is_request| Kind { api, version, is_request })
        })
    })
}

/// The known good messages: those of `codec.rs`.
fn golden() -> impl Iterator<Item = (Kind, Vec<u8>)> {
    include_str!("codec_vectors/codec.vectors").lines().map(|line| {
        let parts: Vec<_> = line.splitn(5, ' ').collect();
        let kind = Kind {
            api: api_info(parts[0].parse().unwrap()).unwrap(),
            version: parts[1].parse().unwrap(),
            is_request: parts[2] == "request",
        };
        let byte = |at| u8::from_str_radix(&parts[3][at..at + 2], 16).unwrap();
        (kind, (0..parts[3].len()).step_by(2).map(byte).collect())
    })
}

fn request(api_key: i16, version: i16) -> Kind {
    Kind { api: api_info(api_key).unwrap(), version, is_request: true }
}

/// xorshift64: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next(256).to_be_bytes()[7]
    }
}

#[test]
fn twelve_bytes_that_announce_four_billion_topics_are_refused() {
    // No transactional id, acks, timeout, and the largest count a variable-length integer can state.
    let attack = [0, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x0f];
    let found = request(0, 9).attack(&attack);
    assert_eq!(found, Err(DecodeError::CountTooLarge { count: 0xffff_fffe, left: 0 }));
    // The same before version 9: the largest count four bytes can state.
    let attack = [0xff, 0xff, 0, 1, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff];
    let found = request(0, 3).attack(&attack);
    assert_eq!(found, Err(DecodeError::CountTooLarge { count: 0x7fff_ffff, left: 0 }));
}

#[test]
fn counts_that_the_bytes_left_could_not_hold_are_refused() {
    // Metadata 1: three topics take at least six bytes.
    let found = request(3, 1).attack(&[0, 0, 0, 3, 0, 1, b'a', 0, 0]);
    assert_eq!(found, Err(DecodeError::CountTooLarge { count: 3, left: 5 }));
}

#[test]
fn lengths_below_null_are_refused() {
    // Metadata 1: an array of -2, then a string of -2; version 0 has no null array either.
    let found = request(3, 1).attack(&[0xff, 0xff, 0xff, 0xfe]);
    assert_eq!(found, Err(DecodeError::NegativeLength(-2)));
    let found = request(3, 1).attack(&[0, 0, 0, 1, 0xff, 0xfe]);
    assert_eq!(found, Err(DecodeError::NegativeLength(-2)));
    let found = request(3, 0).attack(&[0xff, 0xff, 0xff, 0xff]);
    assert_eq!(found, Err(DecodeError::UnexpectedNull));
    // Produce 3: records of -2147483648 bytes.
    let mut produce = vec![0xff, 0xff, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1];
    produce.extend([0, 0, 0, 0, 0x80, 0, 0, 0]);
    assert_eq!(request(0, 3).attack(&produce), Err(DecodeError::NegativeLength(i32::MIN)));
}

#[test]
fn tagged_fields_are_counted_and_measured_before_they_are_read() {
    // ListGroups 3 is nothing but tagged fields.
    let list = request(16, 3);
    let huge = [0xff, 0xff, 0xff, 0xff, 0x0f];
    assert_eq!(list.attack(&huge), Err(DecodeError::TooManyTags(0xffff_ffff)));
    assert_eq!(list.attack(&[200, 1, 0]), Err(DecodeError::CountTooLarge { count: 200, left: 1 }));
    let beyond = [1, 5, 100, 1, 2];
    assert_eq!(list.attack(&beyond), Err(DecodeError::Truncated { needed: 100, left: 2 }));
    assert!(list.attack(&[1, 5, 2, 1, 2]).is_ok());
}

#[test]
fn a_known_tagged_field_must_fill_its_size_and_may_not_leave_it() {
    let mut writer = Writer::new();
    FetchRequest::default().encode(&mut writer, 12);
    let mut bytes = writer.into_buffers().unwrap().concat();
    assert_eq!(bytes.pop(), Some(0));
    // Tag 0 is the cluster id, here "a": a string of one byte.
    let with_tag = |field: &[u8]| request(1, 12).attack(&[&bytes, field].concat());
    assert!(with_tag(&[1, 0, 2, 2, b'a']).is_ok());
    let short = with_tag(&[1, 0, 3, 2, b'a', b'b']);
    assert_eq!(short, Err(DecodeError::TagSizeMismatch { tag: 0, left: 1 }));
    let long = with_tag(&[1, 0, 2, 3, b'a', b'b']);
    assert_eq!(long, Err(DecodeError::Truncated { needed: 2, left: 1 }));
}

#[test]
fn variable_length_integers_end_after_32_bits() {
    let list = request(16, 3);
    assert_eq!(list.attack(&[0x80, 0x80, 0x80, 0x80, 0x80, 0]), Err(DecodeError::VarintTooLong));
    assert_eq!(list.attack(&[0xff, 0xff, 0xff, 0xff, 0x1f]), Err(DecodeError::VarintTooLong));
    assert!(list.attack(&[0x80, 0x80, 0x80, 0x80, 0]).is_ok());
}

#[test]
fn strings_are_utf_8_and_at_most_32767_bytes() {
    let found = request(3, 1).attack(&[0, 0, 0, 1, 0, 2, 0xc3, 0x28]);
    assert_eq!(found, Err(DecodeError::InvalidUtf8));
    // FindCoordinator 3 with a compact string of 32,768 bytes.
    let key = [&[0x81, 0x80, 0x02][..], &[b'x'; 32768], &[0, 0]].concat();
    assert_eq!(request(10, 3).attack(&key), Err(DecodeError::StringTooLong(32768)));
}

#[test]
fn no_truncation_of_a_good_message_is_a_message() {
    for (kind, bytes) in golden() {
        for len in 0..bytes.len() {
            assert!(kind.attack(&bytes[..len]).is_err(), "{kind:?} cut to {len} of {bytes:?}");
        }
    }
}

#[test]
fn no_truncation_of_a_header_is_a_header() {
    let header = RequestHeader {
        api_key: 0,
        api_version: 9,
        correlation_id: 1,
        client_id: Some(Str::from("client")),
    };
    let mut writer = Writer::new();
    header.encode(&mut writer);
    let bytes = Bytes::from(writer.into_buffers().unwrap().concat());
    assert_eq!(RequestHeader::decode(&mut Reader::new(bytes.clone())), Ok(header));
    for len in 0..bytes.len() {
        assert!(RequestHeader::decode(&mut Reader::new(bytes.slice(..len))).is_err());
    }
}

// B-3: the version of a header is not its business, so that the broker can say what it knows.
#[test]
fn a_header_of_an_unknown_api_or_version_is_still_read() {
    let future = Bytes::from_static(&[0, 18, 0, 99, 0, 0, 0, 5, 0xff, 0xff, 0]);
    let header = RequestHeader::decode(&mut Reader::new(future)).unwrap();
    assert_eq!((header.api_key, header.api_version, header.correlation_id), (18, 99, 5));
    let unknown = RequestHeader { api_key: 999, ..Default::default() };
    let found = Request::decode(&unknown, &mut Reader::new(Bytes::new()));
    assert_eq!(found, Err(DecodeError::UnknownApi(999)));
}

#[test]
fn random_bytes_are_refused_or_read_but_never_more() {
    let mut random = Random(0x6f6e_6365_6c6f_6701);
    for kind in kinds() {
        for _ in 0..100 {
            let len = random.next(300);
            let bytes: Vec<_> = (0..len).map(|_| random.byte()).collect();
            drop(kind.attack(&bytes));
        }
    }
}

#[test]
fn damaged_messages_are_refused_or_read_but_never_more() {
    let mut random = Random(0x6f6e_6365_6c6f_6702);
    for (kind, good) in golden() {
        for _ in 0..50 {
            let mut bytes = good.clone();
            for _ in 0..=random.next(3) {
                let at = random.next(bytes.len());
                if let Some(byte) = bytes.get_mut(at) {
                    // Edges of lengths are more telling than bytes in general.
                    *byte = [0, 1, 0x7f, 0x80, 0xff, random.byte()][random.next(6)];
                }
            }
            drop(kind.attack(&bytes));
        }
    }
}

/// An honest count of the smallest elements there are: nothing announced, all of it sent.
#[test]
fn a_large_message_of_tiny_elements_stays_within_its_budget() {
    let count: u32 = 350_000;
    let mut bytes = vec![0, 0, 1, 0, 0, 0, 1];
    let mut stated = count + 1;
    while stated >= 0x80 {
        bytes.push(stated.to_be_bytes()[3] | 0x80);
        stated >>= 7;
    }
    bytes.push(stated.to_be_bytes()[3]);
    // A topic without a name and without partitions.
    bytes.extend([1, 1, 0].repeat(usize::try_from(count).unwrap()));
    bytes.push(0);
    let max = DECODE_MEMORY_FACTOR * bytes.len() + DECODE_MEMORY_BASE;
    let (found, allocated) = counted(|| request(0, 9).read(bytes.into()));
    assert_eq!(found, Err(DecodeError::BudgetExceeded));
    assert!(allocated <= max, "{allocated} of {max}");
}

#[test]
fn large_honest_requests_fit_their_budget() {
    let name = |n: u32| Str::from(format!("t{n:05}"));
    let topics = (0..50_000)
        .map(|n| metadata::MetadataRequestTopic { name: Some(name(n)), ..Default::default() });
    let metadata = MetadataRequest { topics: Some(topics.collect()), ..Default::default() };
    let topics = (0..50_000).map(|n| fetch::FetchTopic {
        topic: name(n),
        partitions: vec![fetch::FetchPartition::default()],
        ..Default::default()
    });
    let fetch = FetchRequest { topics: topics.collect(), ..Default::default() };
    for message in [Request::from(metadata), Request::from(fetch)] {
        for version in message.api().min..=message.api().max {
            let kind = request(message.api().key, version);
            let bytes = kind.write(&Message::Request(message.clone()));
            let max = DECODE_MEMORY_FACTOR * bytes.len() + DECODE_MEMORY_BASE;
            let (read, allocated) = counted(|| kind.read(bytes));
            assert!(read.is_ok(), "{kind:?} {:?}", read.err());
            assert!(allocated <= max, "{kind:?} took {allocated} of {max}");
        }
    }
}
