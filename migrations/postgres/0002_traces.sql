-- The trace that a call is a part of, 32 hexadecimal digits; none where nobody traced.

ALTER TABLE calls ADD COLUMN trace_id TEXT;
