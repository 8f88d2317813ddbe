-- 0010_host_addr.sql - which addresses the interfaces of each host have had.
--
-- As the probe tells in its HELLO, without loopback and link-local ones. It says
-- which host's record of a conversation counts, where several have seen it
-- (collector/once/address_book.h).

CREATE TABLE host_addr (
    host_id       INTEGER NOT NULL REFERENCES host (id),
    addr          BLOB    NOT NULL CHECK (length(addr) = 16), -- IPv4 as ::ffff:a.b.c.d
    since_ms      INTEGER NOT NULL,          -- 0: as long as the host is known
    until_ms      INTEGER,                   -- NULL: it still has it
    PRIMARY KEY (host_id, addr, since_ms)
) STRICT, WITHOUT ROWID;
CREATE INDEX host_addr_by_addr ON host_addr (addr);
