package sender

// budget shares the connections of Config.MaxConns out to the sites. Owned by
// the scheduler.
type budget struct {
	free int
	held map[*site]int // connections of each site that has any
	line []*dest       // who waits, in order of asking
}

// want asks for a connection for d: at once if one is free. Else a site with
// more than others is asked to give one back.
func (b *budget) want(d *dest) {
	if b.free > 0 {
		b.grant(d)
		return
	}
	b.line = append(b.line, d)
	if b.held[d.site] == 0 {
		b.shed()
	}
}

func (b *budget) grant(d *dest) {
	b.free--
	b.held[d.site]++
	d.site.held++
	d.site.box.put(siteMsg{kind: siteGrant, dest: d})
}

// release takes a connection back and gives it to whoever has fewest.
func (b *budget) release(d *dest) {
	b.free++
	d.site.held--
	if b.held[d.site]--; b.held[d.site] == 0 {
		delete(b.held, d.site)
	}
	if len(b.line) == 0 {
		return
	}
	least := 0
	for i, w := range b.line {
		if b.held[w.site] < b.held[b.line[least].site] {
			least = i
		}
	}
	d = b.line[least]
	b.line = append(b.line[:least], b.line[least+1:]...)
	b.grant(d)
}

// shed asks the site with most connections to give one back.
func (b *budget) shed() {
	var most *site
	for st, n := range b.held {
		if most == nil || n > b.held[most] {
			most = st
		}
	}
	if most != nil {
		most.box.put(siteMsg{kind: siteShed})
	}
}
