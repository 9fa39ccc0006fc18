-- What is recorded of calls. Times are microseconds since 1970.

CREATE TABLE spools (
    id TEXT PRIMARY KEY,
    segment BIGINT NOT NULL,
    position BIGINT NOT NULL
);

CREATE TABLE calls (
    id TEXT PRIMARY KEY,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    spool TEXT NOT NULL,
    replica TEXT NOT NULL,
    level TEXT NOT NULL,
    dialect TEXT,
    path TEXT NOT NULL,
    model TEXT NOT NULL,
    client TEXT,
    session TEXT,
    probe TEXT,
    stream BIGINT NOT NULL,
    rules TEXT NOT NULL,
    headers BYTEA NOT NULL,
    upstream TEXT,
    upstream_dialect TEXT,
    upstream_model TEXT,
    dropped BYTEA,
    request_changed BIGINT NOT NULL DEFAULT 0,
    response_changed BIGINT NOT NULL DEFAULT 0,
    status BIGINT,
    outcome TEXT,
    error TEXT,
    duration BIGINT,
    first_byte BIGINT,
    input_tokens BIGINT,
    cached_tokens BIGINT,
    cache_write_tokens BIGINT,
    output_tokens BIGINT,
    reasoning_tokens BIGINT,
    cost DOUBLE PRECISION
);
CREATE INDEX calls_by_time ON calls (started_at, id);
CREATE INDEX calls_by_session ON calls (session, started_at, id);
CREATE INDEX calls_open ON calls (spool) WHERE outcome IS NULL;

CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL
);
CREATE INDEX sessions_by_time ON sessions (last_at, id);

-- What became known of a call at one moment: the events, as compressed JSON.
CREATE TABLE entries (
    call TEXT NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    seq BIGINT NOT NULL,
    events BYTEA NOT NULL,
    PRIMARY KEY (call, seq)
);

-- Which policies did something in which calls.
CREATE TABLE decisions (
    policy TEXT NOT NULL,
    call TEXT NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    PRIMARY KEY (policy, call)
);
CREATE INDEX decisions_by_call ON decisions (call);

-- Pieces of bodies, each once: by the SHA-256 of what they are before compression.
CREATE TABLE parts (
    id BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    hash BYTEA NOT NULL UNIQUE,
    size BIGINT NOT NULL,
    data BYTEA NOT NULL
);

-- Which long texts were taken out of which pieces.
CREATE TABLE holes (
    part BIGINT NOT NULL REFERENCES parts (id),
    text BIGINT NOT NULL REFERENCES parts (id),
    PRIMARY KEY (part, text)
);
CREATE INDEX holes_by_text ON holes (text);

-- Lists of pieces: each node is the list of its parent with one piece more, so that lists that begin alike share that.
CREATE TABLE nodes (
    id BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    hash BYTEA NOT NULL UNIQUE,
    parent BIGINT REFERENCES nodes (id),
    part BIGINT NOT NULL REFERENCES parts (id)
);
CREATE INDEX nodes_by_parent ON nodes (parent);
CREATE INDEX nodes_by_part ON nodes (part);

-- The bodies of a call: what is left of each when its lists were taken out.
CREATE TABLE bodies (
    call TEXT NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    side TEXT NOT NULL,
    part BIGINT NOT NULL REFERENCES parts (id),
    PRIMARY KEY (call, side)
);
CREATE INDEX bodies_by_part ON bodies (part);

-- The lists that were taken out: each field's last node.
CREATE TABLE lists (
    call TEXT NOT NULL,
    side TEXT NOT NULL,
    field TEXT NOT NULL,
    node BIGINT NOT NULL REFERENCES nodes (id),
    PRIMARY KEY (call, side, field),
    FOREIGN KEY (call, side) REFERENCES bodies (call, side) ON DELETE CASCADE
);
CREATE INDEX lists_by_node ON lists (node);

-- Bytes as they were, where they are recorded.
CREATE TABLE raws (
    call TEXT NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    side TEXT NOT NULL,
    data BYTEA NOT NULL,
    PRIMARY KEY (call, side)
);

-- The words of pieces.
CREATE TABLE words (
    part BIGINT PRIMARY KEY REFERENCES parts (id) ON DELETE CASCADE,
    words TSVECTOR NOT NULL
);
CREATE INDEX words_index ON words USING gin (words);
