//! What stands on the socket itself: shapes of errors, and limits.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use jobctl::api::socket::CONNECTIONS_MAX;
use jobctl::api::types::{ErrorBody, ErrorCode};

use crate::fake::Fake;

/// Sends a request as it stands; the status and the body of the answer.
fn request(socket: &Path, text: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // A server that has refused already may have closed its side.
    let _ = stream.write_all(text.as_bytes());
    answer(&mut stream)
}

fn answer(stream: &mut UnixStream) -> (u16, String) {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn get(socket: &Path, path: &str) -> (u16, String) {
    request(socket, &format!("GET {path} HTTP/1.1\r\nHost: jobd\r\n\r\n"))
}

#[test]
fn every_error_has_one_shape() {
    let fake = Fake::start();
    let cases = [
        ("/", 404, ErrorCode::NoSuchPath),
        ("/v1/jobs/nope", 404, ErrorCode::NoSuchJob),
        ("/v1/runs/7", 404, ErrorCode::NoSuchRun),
        ("/v1/runs/x", 400, ErrorCode::BadRequest),
        ("/v1/runs?status=BAD", 400, ErrorCode::BadRequest),
        ("/v1/runs/7/output?offset=-1", 400, ErrorCode::BadRequest),
    ];
    for (path, status, code) in cases {
        let (found, body) = get(&fake.socket, path);
        let body: ErrorBody = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{path}: {body}"));
        assert_eq!((found, body.code), (status, code), "{path}: {}", body.error);
    }
}

#[test]
fn a_body_that_is_too_large_or_wrong_starts_nothing() {
    let fake = Fake::start();
    for body in ["x".repeat(70_000), r#"{"at":"soon"}"#.to_owned(), r#"{"then":1}"#.to_owned()] {
        let head = format!(
            "POST /v1/jobs/backup/runs HTTP/1.1\r\nHost: jobd\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let (status, answer) = request(&fake.socket, &(head + &body));
        assert_eq!(status, 400, "{answer}");
    }
    assert!(get(&fake.socket, "/v1/runs").1.contains("\"runs\":[]"));
}

#[test]
fn one_connection_too_many_is_told_so_and_the_others_live() {
    let fake = Fake::start();
    let mut idle: Vec<UnixStream> = Vec::new();
    while idle.len() < CONNECTIONS_MAX {
        idle.push(UnixStream::connect(&fake.socket).unwrap());
    }
    let mut late = UnixStream::connect(&fake.socket).unwrap();
    late.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let (status, body) = answer(&mut late);
    assert_eq!((status, body.contains("too many open connections")), (503, true), "{body}");
    let first = &mut idle[0];
    first.write_all(b"GET /v1/status HTTP/1.1\r\nHost: jobd\r\n\r\n").unwrap();
    assert_eq!(answer(first).0, 200);
    // The slot of the first is free again as soon as its end has been seen.
    drop(idle);
    let served =
        std::iter::repeat_with(|| get(&fake.socket, "/v1/status").0).take(200).any(|status| status == 200);
    assert!(served);
}
