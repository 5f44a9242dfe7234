//! Any bytes as a request frame, and as an answer: no panic, and what is read survives being written
//! and read again.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use oncelog_broker::protocol::{Reader, Request, RequestHeader, Response, Writer};

fuzz_target!(|data: &[u8]| {
    let frame = Bytes::copy_from_slice(data);
    let mut reader = Reader::new(frame.clone());
    let Ok(header) = RequestHeader::decode(&mut reader) else { return };
    request(&header, &mut reader);
    // The same bytes, as the answer to an api and version that their start names.
    response(&header, frame.slice(4..));
});

fn request(header: &RequestHeader, reader: &mut Reader) {
    let Ok(request) = Request::decode(header, reader) else { return };
    let mut writer = Writer::new();
    request.encode(&mut writer, header.api_version);
    let again = Request::decode(header, &mut Reader::new(written(writer)));
    assert_eq!(again.as_ref(), Ok(&request));
}

fn response(header: &RequestHeader, body: Bytes) {
    let (key, version) = (header.api_key, header.api_version);
    let Ok(response) = Response::decode(key, version, &mut Reader::new(body)) else { return };
    let mut writer = Writer::new();
    response.encode(&mut writer, version);
    let again = Response::decode(key, version, &mut Reader::new(written(writer)));
    assert_eq!(again.as_ref(), Ok(&response));
}

fn written(writer: Writer) -> Bytes {
    writer.into_buffers().expect("what was read fits its fields").concat().into()
}
