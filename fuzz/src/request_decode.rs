//! Any bytes as a request frame, and as an answer: no panic, and what is read survives being written
//! and read again.

use bytes::Bytes;
use oncelog_broker::protocol::{Reader, Request, RequestHeader, Response, Writer};

pub fn check(data: &[u8]) {
    let frame = Bytes::copy_from_slice(data);
    request(&frame);
    // The same bytes, as the answer to an api and version that their start names.
    if let Some(([k0, k1, v0, v1], _)) = data.split_first_chunk() {
        let (key, version) = (i16::from_be_bytes([*k0, *k1]), i16::from_be_bytes([*v0, *v1]));
        response(key, version, frame.slice(4..));
    }
}

fn request(frame: &Bytes) {
    let mut reader = Reader::new(frame.clone());
    let Ok(header) = RequestHeader::decode(&mut reader) else { return };
    let mut writer = Writer::new();
    header.encode(&mut writer);
    let again = RequestHeader::decode(&mut Reader::new(written(writer)));
    assert_eq!(again.as_ref(), Ok(&header));

    let Ok(request) = Request::decode(&header, &mut reader) else { return };
    let mut writer = Writer::new();
    request.encode(&mut writer, header.api_version);
    let again = Request::decode(&header, &mut Reader::new(written(writer)));
    assert_eq!(again.as_ref(), Ok(&request));
}

fn response(key: i16, version: i16, body: Bytes) {
    let Ok(response) = Response::decode(key, version, &mut Reader::new(body)) else { return };
    let mut writer = Writer::new();
    response.encode(&mut writer, version);
    let again = Response::decode(key, version, &mut Reader::new(written(writer)));
    assert_eq!(again.as_ref(), Ok(&response));
}

fn written(writer: Writer) -> Bytes {
    writer.into_buffers().expect("what was read fits its fields").concat().into()
}
