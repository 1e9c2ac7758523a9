// SPDX-License-Identifier: Apache-2.0
//! What the scenario does not show: time limits, wrong arguments.
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use mustafar_client::{AppendRowsQuery, Call, Client, Error, Retry, Tensor};

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

/// A server that reads a request and answers with these bytes, once.
fn answering(bytes: &'static [u8]) -> String {
    let (listener, url) = listener();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(bytes);
    });
    url
}

fn once(url: &str) -> Client {
    Client::new(url).unwrap().with_retry(Retry { attempts: 1, ..Retry::default() })
}

#[test]
fn no_server_is_lost_and_nothing_was_sent() {
    let (listener, url) = listener();
    drop(listener);
    let retry = Retry { attempts: 3, first_wait: Duration::from_millis(1), ..Retry::default() };
    let client = Client::new(&url).unwrap().with_retry(retry);
    assert!(matches!(client.get_version(), Err(Error::Lost { sent: false, .. })));
}

#[test]
fn a_server_that_drips_ends_with_the_time_limit() {
    let (listener, url) = listener();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        while stream.write_all(b"H").is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
    });
    let begin = Instant::now();
    let client = once(&url).with_timeout(Duration::from_millis(300));
    assert!(matches!(client.get_version(), Err(Error::Lost { sent: true, .. })));
    assert!(begin.elapsed() < Duration::from_secs(20)); // it drips for ever
}

#[test]
fn answers_that_are_no_http_are_lost_and_none_is_read_without_end() {
    for bytes in [
        &b"hello\r\n\r\n"[..],
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"",
    ] {
        let answer = once(&answering(bytes)).get_version();
        assert!(
            matches!(answer, Err(Error::Lost { .. })),
            "{:?}: {answer:?}",
            String::from_utf8_lossy(bytes)
        );
    }
}

#[test]
fn answers_of_somebody_else_are_bad_replies() {
    for bytes in [
        &b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]"[..],
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n{",
        b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\n<p>",
        b"HTTP/1.1 409 Conflict\r\nContent-Type: application/problem+json\r\nContent-Length: 1\r\n\r\n{",
    ] {
        let answer = once(&answering(bytes)).get_version();
        assert!(matches!(answer, Err(Error::BadReply { .. })), "{answer:?}");
        if !bytes.starts_with(b"HTTP/1.1 200") {
            let answer = once(&answering(bytes)).delete_cache("a");
            assert!(matches!(answer, Err(Error::BadReply { .. })), "{answer:?}");
        }
    }
}

#[test]
fn an_address_that_is_none_is_refused_at_once() {
    for url in ["", "127.0.0.1:1", "https://example.org", "http://", "http://a b", "http://user@host"] {
        assert!(matches!(Client::new(url), Err(Error::Argument(_))), "{url}");
    }
}

#[test]
fn a_line_break_does_not_reach_the_wire() {
    let (_listener, url) = listener();
    let client = once(&url).with_token("a\r\nX-Evil: 1");
    assert!(matches!(client.get_version(), Err(Error::Argument(_))));
    let call = Call::new("GET", "/healthz HTTP/1.1\r\nX-Evil: 1\r\n");
    assert!(matches!(once(&url).call(&call), Err(Error::Argument(_))));
}

#[test]
fn tensors_that_do_not_fit_are_refused_before_anything_is_sent() {
    let client = Client::new("http://127.0.0.1:1").unwrap();
    let good = Tensor::f16(&[0; 12], &[3, 2, 2]);
    let dtype = Tensor { dtype: "f64".into(), shape: vec![3, 2, 2], data: vec![0; 96] };
    let overflow = Tensor { dtype: "f16".into(), shape: vec![usize::MAX, 2, 2], data: vec![] };
    for k in [
        dtype,
        overflow,
        Tensor::f16(&[0; 12], &[6, 2]),
        Tensor::f16(&[0; 11], &[3, 2, 2]),
        Tensor::f32(&[0.0; 12], &[3, 2, 2]),
        Tensor::f16(&[0; 8], &[2, 2, 2]),
    ] {
        let answer = client.append_rows("a", 0, &k, &good, &AppendRowsQuery::default());
        assert!(matches!(answer, Err(Error::Argument(_))), "{k:?}: {answer:?}");
    }
}
