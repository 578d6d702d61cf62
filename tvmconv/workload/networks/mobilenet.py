"""MobileNets, of width 1."""

from tvmconv.workload.networks.network import Network

MOBILENET_V1 = Network(
    name="mobilenet_v1",
    definition="Howard et al. 2017, arXiv 1704.04861, padded on all sides; names as in Keras",
    table="""
1 conv1      ic3ih224oc32oh112kh3sh2ph1
1 conv_dw_1  g32ic32ih112oc32oh112kh3ph1
1 conv_pw_1  ic32ih112oc64oh112kh1ph0
1 conv_dw_2  g64ic64ih112oc64oh56kh3sh2ph1
1 conv_pw_2  ic64ih56oc128oh56kh1ph0
1 conv_dw_3  g128ic128ih56oc128oh56kh3ph1
1 conv_pw_3  ic128ih56oc128oh56kh1ph0
1 conv_dw_4  g128ic128ih56oc128oh28kh3sh2ph1
1 conv_pw_4  ic128ih28oc256oh28kh1ph0
1 conv_dw_5  g256ic256ih28oc256oh28kh3ph1
1 conv_pw_5  ic256ih28oc256oh28kh1ph0
1 conv_dw_6  g256ic256ih28oc256oh14kh3sh2ph1
1 conv_pw_6  ic256ih14oc512oh14kh1ph0
5 conv_dw_7  g512ic512ih14oc512oh14kh3ph1
5 conv_pw_7  ic512ih14oc512oh14kh1ph0
1 conv_dw_12 g512ic512ih14oc512oh7kh3sh2ph1
1 conv_pw_12 ic512ih7oc1024oh7kh1ph0
1 conv_dw_13 g1024ic1024ih7oc1024oh7kh3ph1
1 conv_pw_13 ic1024ih7oc1024oh7kh1ph0
""",
)

MOBILENET_V2 = Network(
    name="mobilenet_v2",
    definition="Sandler et al. 2018, arXiv 1801.04381; torchvision",
    table="""
1 features.0.0         ic3ih224oc32oh112kh3sh2ph1
1 features.1.conv.0.0  g32ic32ih112oc32oh112kh3ph1
1 features.1.conv.1    ic32ih112oc16oh112kh1ph0
1 features.2.conv.0.0  ic16ih112oc96oh112kh1ph0
1 features.2.conv.1.0  g96ic96ih112oc96oh56kh3sh2ph1
1 features.2.conv.2    ic96ih56oc24oh56kh1ph0
2 features.3.conv.0.0  ic24ih56oc144oh56kh1ph0
1 features.3.conv.1.0  g144ic144ih56oc144oh56kh3ph1
1 features.3.conv.2    ic144ih56oc24oh56kh1ph0
1 features.4.conv.1.0  g144ic144ih56oc144oh28kh3sh2ph1
1 features.4.conv.2    ic144ih28oc32oh28kh1ph0
3 features.5.conv.0.0  ic32ih28oc192oh28kh1ph0
2 features.5.conv.1.0  g192ic192ih28oc192oh28kh3ph1
2 features.5.conv.2    ic192ih28oc32oh28kh1ph0
1 features.7.conv.1.0  g192ic192ih28oc192oh14kh3sh2ph1
1 features.7.conv.2    ic192ih14oc64oh14kh1ph0
4 features.8.conv.0.0  ic64ih14oc384oh14kh1ph0
4 features.8.conv.1.0  g384ic384ih14oc384oh14kh3ph1
3 features.8.conv.2    ic384ih14oc64oh14kh1ph0
1 features.11.conv.2   ic384ih14oc96oh14kh1ph0
3 features.12.conv.0.0 ic96ih14oc576oh14kh1ph0
2 features.12.conv.1.0 g576ic576ih14oc576oh14kh3ph1
2 features.12.conv.2   ic576ih14oc96oh14kh1ph0
1 features.14.conv.1.0 g576ic576ih14oc576oh7kh3sh2ph1
1 features.14.conv.2   ic576ih7oc160oh7kh1ph0
3 features.15.conv.0.0 ic160ih7oc960oh7kh1ph0
3 features.15.conv.1.0 g960ic960ih7oc960oh7kh3ph1
2 features.15.conv.2   ic960ih7oc160oh7kh1ph0
1 features.17.conv.2   ic960ih7oc320oh7kh1ph0
1 features.18.0        ic320ih7oc1280oh7kh1ph0
""",
)
