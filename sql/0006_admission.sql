-- 0006_admission.sql - whose key may speak.
--
-- A host is its key: host_key maps it to the probe_id that all the rows of that
-- host hang on. Names are claims. Keys and hashes here are public; no secret is
-- in the database.

-- Of this collector, for join strings.
CREATE TABLE collector (
    id            INTEGER PRIMARY KEY CHECK (id = 1),
    public_key    BLOB    NOT NULL CHECK (length(public_key) = 32),
    listen        TEXT,                      -- as the last serve bound them
    enroll_listen TEXT
) STRICT;

CREATE TABLE token (
    id            INTEGER PRIMARY KEY,
    secret_hash   BLOB    NOT NULL UNIQUE CHECK (length(secret_hash) = 32),
    manual        INTEGER NOT NULL,          -- 1: who comes with it waits for an approval
    max_uses      INTEGER NOT NULL,
    uses          INTEGER NOT NULL DEFAULT 0,
    created_ms    INTEGER NOT NULL,
    expires_ms    INTEGER NOT NULL,
    revoked_ms    INTEGER
) STRICT;

CREATE TABLE host_key (
    public_key    BLOB    NOT NULL PRIMARY KEY CHECK (length(public_key) = 32),
    probe_id      BLOB    NOT NULL CHECK (length(probe_id) = 16),
    state         TEXT    NOT NULL
                  CHECK (state IN ('pending', 'admitted', 'rejected', 'revoked', 'retired')),
    replaces      BLOB,                      -- retires that key when this one is first used
    name          TEXT    NOT NULL,          -- claimed when it asked
    address       TEXT    NOT NULL,          -- where it asked from
    fingerprint   TEXT    NOT NULL,
    token_id      INTEGER REFERENCES token (id),
    asked_ms      INTEGER NOT NULL,
    decided_ms    INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX host_key_by_probe ON host_key (probe_id);

-- Who let whom in, or out.
CREATE TABLE admission_log (
    id            INTEGER PRIMARY KEY,
    at_ms         INTEGER NOT NULL,
    what          TEXT    NOT NULL,          -- admitted, pending, refused, revoked, ...
    subject       TEXT    NOT NULL,          -- fingerprint, or "token N"
    detail        TEXT    NOT NULL
) STRICT;
