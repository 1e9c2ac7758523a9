// SPDX-License-Identifier: Apache-2.0
//! HTTP/1.1 on one connection: TCP or a UNIX socket.
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::call::{Call, Reply};

const HEAD_MAX: u64 = 64 * 1024;
const BODY_MAX: u64 = 1 << 40;

/// Where a server listens.
#[derive(Debug, Clone)]
pub(crate) enum Address {
    Tcp(String),
    #[cfg(unix)]
    Unix(std::path::PathBuf),
}

enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// A stream that gives up at its limit, whatever comes in drips.
pub(crate) struct Timed {
    stream: Stream,
    limit: Instant,
}

pub(crate) struct Connection {
    reader: BufReader<Timed>,
}

/// An answer of which the body is still to come.
pub(crate) struct Head {
    pub reply: Reply,
    length: Option<u64>,
    pub keep: bool,
}

impl Address {
    pub(crate) fn connect(&self, limit: Instant) -> io::Result<Connection> {
        let stream = match self {
            Address::Tcp(address) => {
                let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                let mut found = None;
                for one in address.to_socket_addrs()? {
                    match TcpStream::connect_timeout(&one, left(limit)?) {
                        Ok(stream) => {
                            found = Some(stream);
                            break;
                        }
                        Err(error) => last = error,
                    }
                }
                let stream = found.ok_or(last)?;
                stream.set_nodelay(true)?;
                Stream::Tcp(stream)
            }
            #[cfg(unix)]
            Address::Unix(path) => Stream::Unix(UnixStream::connect(path)?),
        };
        Ok(Connection { reader: BufReader::with_capacity(64 * 1024, Timed { stream, limit }) })
    }

    /// For the Host field.
    pub(crate) fn host(&self) -> &str {
        match self {
            Address::Tcp(address) => address,
            #[cfg(unix)]
            Address::Unix(_) => "localhost",
        }
    }
}

fn left(limit: Instant) -> io::Result<Duration> {
    match limit.checked_duration_since(Instant::now()) {
        Some(time) if time > Duration::from_millis(1) => Ok(time),
        _ => Err(io::ErrorKind::TimedOut.into()),
    }
}

impl Timed {
    fn arm(&self) -> io::Result<()> {
        let time = Some(left(self.limit)?);
        match &self.stream {
            Stream::Tcp(stream) => stream.set_read_timeout(time).and(stream.set_write_timeout(time)),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.set_read_timeout(time).and(stream.set_write_timeout(time)),
        }
    }
}

impl Read for Timed {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.arm()?;
        match &mut self.stream {
            Stream::Tcp(stream) => stream.read(out),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.read(out),
        }
    }
}

impl Write for Timed {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.arm()?;
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write(data),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.write(data),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Connection {
    pub(crate) fn set_limit(&mut self, limit: Instant) {
        self.reader.get_mut().limit = limit;
    }

    /// Nothing came where nothing was asked, not even an end: the connection can be used.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let set = |stream: &Stream, on| match stream {
            Stream::Tcp(stream) => stream.set_nonblocking(on),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.set_nonblocking(on),
        };
        let stream = &mut self.reader.get_mut().stream;
        let mut byte = [0];
        let quiet = set(stream, true).is_ok()
            && matches!(
                match stream {
                    Stream::Tcp(stream) => stream.read(&mut byte),
                    #[cfg(unix)]
                    Stream::Unix(stream) => stream.read(&mut byte),
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock
            );
        quiet && set(stream, false).is_ok()
    }

    /// Sends a request and reads the head of the answer.
    pub(crate) fn ask(
        &mut self,
        host: &str,
        target: &str,
        token: Option<&str>,
        call: &Call,
    ) -> io::Result<Head> {
        let mut head = format!("{} {target} HTTP/1.1\r\nHost: {host}\r\n", call.method);
        let own = [("Accept", "*/*"), ("User-Agent", "mustafar-client-rust")];
        let given = |name: &str| call.headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
        for (name, value) in own.iter().filter(|(name, _)| !given(name)) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        for (name, value) in &call.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(token) = token {
            head.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        if !call.body.is_empty() || matches!(call.method.as_str(), "POST" | "PUT" | "PATCH") {
            head.push_str(&format!("Content-Length: {}\r\n", call.body.len()));
        }
        head.push_str("\r\n");
        let stream = self.reader.get_mut();
        let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&call.body));
        match (self.head(&call.method), sent) {
            (Ok(head), _) => Ok(head), // one that was refused while the body was on its way has an answer too
            (Err(_), Err(error)) | (Err(error), Ok(())) => Err(error),
        }
    }

    fn line(&mut self, room: &mut u64) -> io::Result<String> {
        let mut line = String::new();
        let length = (&mut self.reader).take(*room).read_line(&mut line)?;
        *room -= length as u64;
        match line.strip_suffix('\n') {
            Some(text) => Ok(text.trim_end_matches('\r').to_string()),
            None if *room == 0 => Err(bad("the head of the answer is too large")),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn head(&mut self, method: &str) -> io::Result<Head> {
        let mut room = HEAD_MAX;
        let status_line = self.line(&mut room)?;
        let mut words = status_line.splitn(3, ' ');
        let version = words.next().unwrap_or("");
        let status = words.next().and_then(|text| text.parse().ok());
        let status =
            status.filter(|_| version.starts_with("HTTP/1.")).ok_or_else(|| bad("no HTTP answer"))?;
        let mut reply = Reply { status, headers: Vec::new(), body: Vec::new() };
        loop {
            let line = self.line(&mut room)?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| bad("a field without a colon"))?;
            reply.headers.push((name.to_string(), value.trim().to_string()));
        }
        if reply.header("transfer-encoding").is_some() {
            return Err(bad("a transfer encoding, which mustafard does not use"));
        }
        let mut length = match reply.header("content-length") {
            Some(text) => Some(text.parse().map_err(|_| bad("Content-Length is no number"))?),
            None => None,
        };
        if method == "HEAD" || status == 204 || status == 304 {
            length = Some(0);
        }
        let close = reply.header("connection").map_or(false, |text| text.eq_ignore_ascii_case("close"));
        let keep = length.is_some() && !close && version == "HTTP/1.1";
        Ok(Head { reply, length, keep })
    }

    /// The whole body.
    pub(crate) fn body(&mut self, head: &Head) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        let wanted = head.length.unwrap_or(BODY_MAX);
        let read = (&mut self.reader).take(wanted).read_to_end(&mut body)? as u64;
        if head.length.is_some() && read != wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(body)
    }

    /// One line of a body that comes bit by bit; `None` at its end.
    pub(crate) fn body_line(&mut self, line_max: u64) -> io::Result<Option<String>> {
        let mut line = String::new();
        (&mut self.reader).take(line_max).read_line(&mut line)?;
        match line.strip_suffix('\n') {
            Some(text) => Ok(Some(text.trim_end_matches('\r').to_string())),
            None if line.is_empty() => Ok(None),
            None => Err(bad("a line that does not end")),
        }
    }
}

fn bad(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}
