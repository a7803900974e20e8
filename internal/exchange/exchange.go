package exchange

// compile reads the configuration's texts.
func (c Config) compile() ([]asset, []*market, error) {
	if err := c.Validate(); err != nil {
		return nil, nil, err
	}
	index := map[string]int{}
	assets := make([]asset, len(c.Assets))
	for i, a := range c.Assets {
		index[a.Name] = i
		assets[i] = asset{name: a.Name, savePrec: uint8(a.SavePrec), showPrec: uint8(a.ShowPrec), priced: -1}
	}
	markets := make([]*market, len(c.Markets))
	for i, m := range c.Markets {
		markets[i] = &market{index: i, name: m.Name(), baseName: m.Base, quoteName: m.Quote, base: index[m.Base], quote: index[m.Quote],
			pricePrec: uint8(m.PricePrec), amountPrec: uint8(m.AmountPrec)}
		if m.Quote == "USDT" {
			assets[index[m.Base]].priced = i
		}
	}
	return assets, markets, nil
}
