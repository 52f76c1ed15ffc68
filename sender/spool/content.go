package spool

// maxContents is how many contents the writer knows by heart.
const maxContents = 4096

// contentOf gives the number of a message's content, which is stored if it is
// not in the file.
func (t *tx) contentOf(it *item) (id int64, err error) {
	if id, ok := t.contents[it.hash]; ok {
		return id, nil
	}
	err = t.findContent.query(func(row []value) error {
		id = integer(row[0])
		return nil
	}, it.hash[:])
	if err != nil {
		return 0, err
	}
	if id == 0 {
		t.content++
		id = t.content
		m := it.sub
		if _, err := t.insertContent.exec(id, it.hash[:], orNull(m.Template)); err != nil {
			return 0, err
		}
		if m.Template == "" {
			body := m.Body
			if body == nil {
				body = []byte{}
			}
			if _, err := t.insertBody.exec(id, body); err != nil {
				return 0, err
			}
		}
		t.hashed = append(t.hashed, it.hash)
	}
	t.knowContent(id, it.hash)
	return id, nil
}

func (w *writer) knowContent(id int64, hash [32]byte) {
	if len(w.contents) >= maxContents {
		for old := range w.hashes { // any
			w.forgetContent(old)
			break
		}
	}
	w.contents[hash], w.hashes[id] = id, hash
}

func (w *writer) forgetContent(id int64) {
	delete(w.contents, w.hashes[id])
	delete(w.hashes, id)
}

// writeUses counts by how many messages contents are used, and deletes those
// that none uses.
func (t *tx) writeUses() error {
	for id, n := range t.uses {
		if n <= 0 {
			gone, err := t.freeContent.exec(id, -n)
			if err != nil {
				return err
			}
			if gone > 0 {
				t.forgetContent(id)
				if _, err := t.dropBody.exec(id); err != nil {
					return err
				}
				continue
			}
		}
		if n != 0 {
			if _, err := t.useContent.exec(id, n); err != nil {
				return err
			}
		}
	}
	return nil
}
