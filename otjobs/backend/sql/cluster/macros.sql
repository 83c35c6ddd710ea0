SELECT getMacro('shard'), getMacro('replica')
