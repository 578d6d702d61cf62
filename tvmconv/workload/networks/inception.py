"""Inception networks, without their auxiliary classifiers."""

from tvmconv.workload.networks.network import Network

GOOGLENET = Network(
    name="googlenet",
    definition="Szegedy et al. 2014, arXiv 1409.4842; torchvision: its 5x5 branches have 3x3 kernels",
    table="""
1 conv1.conv                 ic3ih224oc64oh112kh7sh2ph3
1 conv2.conv                 ic64ih56oc64oh56kh1ph0
1 conv3.conv                 ic64ih56oc192oh56kh3ph1
1 inception3a.branch1.conv   ic192ih28oc64oh28kh1ph0
1 inception3a.branch2.0.conv ic192ih28oc96oh28kh1ph0
1 inception3a.branch2.1.conv ic96ih28oc128oh28kh3ph1
1 inception3a.branch3.0.conv ic192ih28oc16oh28kh1ph0
1 inception3a.branch3.1.conv ic16ih28oc32oh28kh3ph1
1 inception3a.branch4.1.conv ic192ih28oc32oh28kh1ph0
2 inception3b.branch1.conv   ic256ih28oc128oh28kh1ph0
1 inception3b.branch2.1.conv ic128ih28oc192oh28kh3ph1
1 inception3b.branch3.0.conv ic256ih28oc32oh28kh1ph0
1 inception3b.branch3.1.conv ic32ih28oc96oh28kh3ph1
1 inception3b.branch4.1.conv ic256ih28oc64oh28kh1ph0
1 inception4a.branch1.conv   ic480ih14oc192oh14kh1ph0
1 inception4a.branch2.0.conv ic480ih14oc96oh14kh1ph0
1 inception4a.branch2.1.conv ic96ih14oc208oh14kh3ph1
1 inception4a.branch3.0.conv ic480ih14oc16oh14kh1ph0
1 inception4a.branch3.1.conv ic16ih14oc48oh14kh3ph1
1 inception4a.branch4.1.conv ic480ih14oc64oh14kh1ph0
1 inception4b.branch1.conv   ic512ih14oc160oh14kh1ph0
2 inception4b.branch2.0.conv ic512ih14oc112oh14kh1ph0
1 inception4b.branch2.1.conv ic112ih14oc224oh14kh3ph1
2 inception4b.branch3.0.conv ic512ih14oc24oh14kh1ph0
2 inception4b.branch3.1.conv ic24ih14oc64oh14kh3ph1
3 inception4b.branch4.1.conv ic512ih14oc64oh14kh1ph0
2 inception4c.branch1.conv   ic512ih14oc128oh14kh1ph0
1 inception4c.branch2.1.conv ic128ih14oc256oh14kh3ph1
1 inception4d.branch2.0.conv ic512ih14oc144oh14kh1ph0
1 inception4d.branch2.1.conv ic144ih14oc288oh14kh3ph1
1 inception4d.branch3.0.conv ic512ih14oc32oh14kh1ph0
1 inception4d.branch3.1.conv ic32ih14oc64oh14kh3ph1
1 inception4e.branch1.conv   ic528ih14oc256oh14kh1ph0
1 inception4e.branch2.0.conv ic528ih14oc160oh14kh1ph0
1 inception4e.branch2.1.conv ic160ih14oc320oh14kh3ph1
1 inception4e.branch3.0.conv ic528ih14oc32oh14kh1ph0
1 inception4e.branch3.1.conv ic32ih14oc128oh14kh3ph1
1 inception4e.branch4.1.conv ic528ih14oc128oh14kh1ph0
1 inception5a.branch1.conv   ic832ih7oc256oh7kh1ph0
1 inception5a.branch2.0.conv ic832ih7oc160oh7kh1ph0
1 inception5a.branch2.1.conv ic160ih7oc320oh7kh3ph1
1 inception5a.branch3.0.conv ic832ih7oc32oh7kh1ph0
1 inception5a.branch3.1.conv ic32ih7oc128oh7kh3ph1
2 inception5a.branch4.1.conv ic832ih7oc128oh7kh1ph0
1 inception5b.branch1.conv   ic832ih7oc384oh7kh1ph0
1 inception5b.branch2.0.conv ic832ih7oc192oh7kh1ph0
1 inception5b.branch2.1.conv ic192ih7oc384oh7kh3ph1
1 inception5b.branch3.0.conv ic832ih7oc48oh7kh1ph0
1 inception5b.branch3.1.conv ic48ih7oc128oh7kh3ph1
""",
)

INCEPTION_V3 = Network(
    name="inception_v3",
    definition="Szegedy et al. 2015, arXiv 1512.00567; torchvision",
    table="""
 1 Conv2d_1a_3x3.conv           ic3ih299oc32oh149kh3sh2ph0
 1 Conv2d_2a_3x3.conv           ic32ih149oc32oh147kh3ph0
 1 Conv2d_2b_3x3.conv           ic32ih147oc64oh147kh3ph1
 1 Conv2d_3b_1x1.conv           ic64ih73oc80oh73kh1ph0
 1 Conv2d_4a_3x3.conv           ic80ih73oc192oh71kh3ph0
 2 Mixed_5b.branch1x1.conv      ic192ih35oc64oh35kh1ph0
 1 Mixed_5b.branch5x5_1.conv    ic192ih35oc48oh35kh1ph0
 3 Mixed_5b.branch5x5_2.conv    ic48ih35oc64oh35kh5ph2
 4 Mixed_5b.branch3x3dbl_2.conv ic64ih35oc96oh35kh3ph1
 3 Mixed_5b.branch3x3dbl_3.conv ic96ih35oc96oh35kh3ph1
 1 Mixed_5b.branch_pool.conv    ic192ih35oc32oh35kh1ph0
 3 Mixed_5c.branch1x1.conv      ic256ih35oc64oh35kh1ph0
 1 Mixed_5c.branch5x5_1.conv    ic256ih35oc48oh35kh1ph0
 4 Mixed_5d.branch1x1.conv      ic288ih35oc64oh35kh1ph0
 1 Mixed_5d.branch5x5_1.conv    ic288ih35oc48oh35kh1ph0
 1 Mixed_6a.branch3x3.conv      ic288ih35oc384oh17kh3sh2ph0
 1 Mixed_6a.branch3x3dbl_3.conv ic96ih35oc96oh17kh3sh2ph0
12 Mixed_6b.branch1x1.conv      ic768ih17oc192oh17kh1ph0
 2 Mixed_6b.branch7x7_1.conv    ic768ih17oc128oh17kh1ph0
 2 Mixed_6b.branch7x7_2.conv    ic128ih17iw17oc128oh17ow17kh1kw7ph0pw3
 1 Mixed_6b.branch7x7_3.conv    ic128ih17iw17oc192oh17ow17kh7kw1ph3pw0
 2 Mixed_6b.branch7x7dbl_2.conv ic128ih17iw17oc128oh17ow17kh7kw1ph3pw0
 1 Mixed_6b.branch7x7dbl_5.conv ic128ih17iw17oc192oh17ow17kh1kw7ph0pw3
 4 Mixed_6c.branch7x7_1.conv    ic768ih17oc160oh17kh1ph0
 4 Mixed_6c.branch7x7_2.conv    ic160ih17iw17oc160oh17ow17kh1kw7ph0pw3
 2 Mixed_6c.branch7x7_3.conv    ic160ih17iw17oc192oh17ow17kh7kw1ph3pw0
 4 Mixed_6c.branch7x7dbl_2.conv ic160ih17iw17oc160oh17ow17kh7kw1ph3pw0
 2 Mixed_6c.branch7x7dbl_5.conv ic160ih17iw17oc192oh17ow17kh1kw7ph0pw3
 4 Mixed_6e.branch7x7_2.conv    ic192ih17iw17oc192oh17ow17kh1kw7ph0pw3
 4 Mixed_6e.branch7x7_3.conv    ic192ih17iw17oc192oh17ow17kh7kw1ph3pw0
 1 Mixed_7a.branch3x3_2.conv    ic192ih17oc320oh8kh3sh2ph0
 1 Mixed_7a.branch7x7x3_4.conv  ic192ih17oc192oh8kh3sh2ph0
 1 Mixed_7b.branch1x1.conv      ic1280ih8oc320oh8kh1ph0
 1 Mixed_7b.branch3x3_1.conv    ic1280ih8oc384oh8kh1ph0
 4 Mixed_7b.branch3x3_2a.conv   ic384ih8iw8oc384oh8ow8kh1kw3ph0pw1
 4 Mixed_7b.branch3x3_2b.conv   ic384ih8iw8oc384oh8ow8kh3kw1ph1pw0
 1 Mixed_7b.branch3x3dbl_1.conv ic1280ih8oc448oh8kh1ph0
 2 Mixed_7b.branch3x3dbl_2.conv ic448ih8oc384oh8kh3ph1
 1 Mixed_7b.branch_pool.conv    ic1280ih8oc192oh8kh1ph0
 1 Mixed_7c.branch1x1.conv      ic2048ih8oc320oh8kh1ph0
 1 Mixed_7c.branch3x3_1.conv    ic2048ih8oc384oh8kh1ph0
 1 Mixed_7c.branch3x3dbl_1.conv ic2048ih8oc448oh8kh1ph0
 1 Mixed_7c.branch_pool.conv    ic2048ih8oc192oh8kh1ph0
""",
)
