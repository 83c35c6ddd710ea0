-- Bounds a text from outside to 1,024 characters, as the services do (`otjobs/texts.py`). What is cut ends in a digest,
-- so that ids which differ only behind the cut still differ: two jobs would be one.
x -> if(length(x) > 1024 AND lengthUTF8(x) > 1024, concat(leftUTF8(x, 1007), '~', lower(hex(sipHash64(x)))), x)
